// Label maps as pieces: numbering, connected pieces, specks folded into their neighbours.
#include <limits>
#include <numeric>
#include <queue>
#include <string>
#include <tuple>
#include <utility>

#include "merging/label_maps.h"
#include "merging/label_runs.h"

namespace bottomup {
namespace {

/// Pieces that turn out to be one.
class UnionFind {
public:
  explicit UnionFind(size_t count) : parent_(count) {
    std::iota(parent_.begin(), parent_.end(), 0);
  }

  int32_t find(int32_t piece) {
    while (parent_[piece] != piece)
      piece = parent_[piece] = parent_[parent_[piece]];
    return piece;
  }
  /// Both are named by the first of them.
  void unite(int32_t one, int32_t other) {
    one = find(one), other = find(other);
    parent_[std::max(one, other)] = std::min(one, other);
  }
  /// Both are named as the host is; neither has been given to another.
  void give(int32_t piece, int32_t host) { parent_[piece] = host; }

private:
  std::vector<int32_t> parent_;
};

/// The borders of the small labels, as lists that are joined without copying.
class Borders {
public:
  Borders(const LabelRuns &labels, const std::vector<int64_t> &areas, int64_t min_area)
      : lists_(areas.size()) {
    const auto touch = [&](int32_t one, int32_t other, int32_t length) {
      if (one == other || one < 0 || other < 0)
        return;
      for (const auto &[label, neighbour] : {std::pair(one, other), std::pair(other, one)})
        if (label > 0 && areas[label] < min_area)
          append(label, neighbour, length);
    };
    for (int64_t y = 0; y < labels.height; ++y) {
      const std::span<const Run> row = labels.row(y);
      for (size_t i = 1; i < row.size(); ++i)
        touch(row[i - 1].label, row[i].label, 1);
      if (y > 0)
        for_each_overlap(row, labels.row(y - 1), 0, [&](size_t i, size_t above, int32_t length) {
          touch(labels.row(y - 1)[above].label, row[i].label, length);
        });
    }
  }

  /// Moves the borders of one label to the end of another's.
  void join(int32_t from, int32_t to) {
    List &source = lists_[from], &target = lists_[to];
    if (source.first < 0)
      return;
    (target.first < 0 ? target.first : parts_[target.last].next) = source.first;
    target.last = source.last;
    source = {};
  }

  /// Calls `visit` with the other label and the length of every part of a label's borders.
  template <typename Visit> void for_each(int32_t label, const Visit &visit) const {
    for (int32_t i = lists_[label].first; i >= 0; i = parts_[i].next)
      visit(parts_[i].other, parts_[i].length);
  }

private:
  struct Part {
    int64_t length; // pairs of 4-neighbours
    int32_t other, next;
  };
  struct List {
    int32_t first = -1, last = -1;
  };

  void append(int32_t label, int32_t other, int64_t length) {
    if (const int32_t last = lists_[label].last; last >= 0 && parts_[last].other == other) {
      parts_[last].length += length;
      return;
    }
    const auto part = static_cast<int32_t>(parts_.size());
    parts_.push_back({length, other, -1});
    List &list = lists_[label];
    (list.first < 0 ? list.first : parts_[list.last].next) = part;
    list.last = part;
  }

  std::vector<Part> parts_;
  std::vector<List> lists_;
};

} // namespace

void check_labels(const LabelMap &labels, int32_t lowest, const std::string &name) {
  if (labels.height < 1 || labels.width < 1 ||
      static_cast<int64_t>(labels.values.size()) != labels.size())
    throw Error(name + ": expected a non-empty map (H, W), got " + std::to_string(labels.height) +
                " x " + std::to_string(labels.width));
  const int32_t smallest = *std::ranges::min_element(labels.values);
  if (smallest < lowest)
    throw Error(name + ": labels must not be below " + std::to_string(lowest) + ", got " +
                std::to_string(smallest));
}

std::vector<int64_t> label_areas(const LabelMap &labels) { return LabelRuns(labels).areas(); }

void split_pieces(LabelRuns &labels, int connectivity) {
  UnionFind pieces(labels.runs.size());
  for (int64_t y = 1; y < labels.height; ++y) {
    const std::span<const Run> row = labels.row(y), above = labels.row(y - 1);
    for_each_overlap(row, above, connectivity - 1, [&](size_t i, size_t j, int32_t) {
      if (row[i].label > 0 && row[i].label == above[j].label)
        pieces.unite(static_cast<int32_t>(labels.first(y - 1) + j),
                     static_cast<int32_t>(labels.first(y) + i));
    });
  }
  int32_t count = 0;
  for (size_t i = 0; i < labels.runs.size(); ++i)
    if (Run &run = labels.runs[i]; run.label > 0) {
      const int32_t first = pieces.find(static_cast<int32_t>(i));
      run.label = first == static_cast<int32_t>(i) ? ++count : labels.runs[first].label;
    }
}

void fold_small(LabelRuns &labels, int64_t min_area, const Similarity &similarity) {
  std::vector<int64_t> areas = labels.areas();
  using Speck = std::pair<int64_t, int32_t>; // area, label
  std::priority_queue<Speck, std::vector<Speck>, std::greater<>> queue;
  for (size_t label = 1; label < areas.size(); ++label)
    if (areas[label] > 0 && areas[label] < min_area)
      queue.emplace(areas[label], label);
  if (queue.empty())
    return;

  Borders borders(labels, areas, min_area);
  UnionFind hosts(areas.size());
  std::vector<int64_t> shared(areas.size()); // with each neighbour of the speck at hand
  std::vector<int32_t> neighbours;
  while (!queue.empty()) {
    const auto [area, speck] = queue.top();
    queue.pop();
    if (area != areas[speck])
      continue;
    neighbours.clear();
    borders.for_each(speck, [&, speck = speck](int32_t other, int64_t length) {
      other = hosts.find(other);
      if (other == speck)
        return;
      if (shared[other] == 0)
        neighbours.push_back(other);
      shared[other] += length;
    });
    if (neighbours.empty())
      continue;
    auto best = std::tuple(-std::numeric_limits<double>::infinity(), int64_t{0}, 0);
    for (const int32_t other : neighbours) {
      const double likeness = similarity ? similarity(speck, other) : 0;
      best = std::max(best, std::tuple(likeness, std::exchange(shared[other], 0), -other));
    }
    const int32_t host = -std::get<2>(best);
    hosts.give(speck, host);
    areas[host] += area;
    areas[speck] = 0;
    borders.join(speck, host);
    if (host > 0 && areas[host] < min_area)
      queue.emplace(areas[host], host);
  }
  for (Run &run : labels.runs)
    if (run.label >= 0)
      run.label = hosts.find(run.label);
}

LabelMap relabel_by_appearance(const LabelMap &labels) {
  check_labels(labels, -1, "labels");
  LabelRuns runs(labels);
  number_by_appearance(runs);
  return runs.map();
}

LabelMap split_components(const LabelMap &labels, int connectivity) {
  check_labels(labels, -1, "labels");
  if (connectivity != 1 && connectivity != 2)
    throw Error("connectivity: expected 1 or 2, got " + std::to_string(connectivity));
  LabelRuns runs(labels);
  split_pieces(runs, connectivity);
  return runs.map();
}

LabelMap fold_specks(const LabelMap &labels, int64_t min_area, const Similarity &similarity) {
  check_labels(labels, -1, "labels");
  LabelRuns runs(labels);
  if (const int32_t largest = runs.largest_label(); largest > labels.size())
    throw Error("labels: label " + std::to_string(largest) + " exceeds the number of pixels, " +
                std::to_string(labels.size()));
  fold_small(runs, min_area, similarity);
  return runs.map();
}

} // namespace bottomup
