// Label maps as pieces: numbering, connected pieces, specks folded into their neighbours.
#include <algorithm>
#include <limits>
#include <numeric>
#include <queue>
#include <string>
#include <tuple>
#include <unordered_map>
#include <utility>

#include "bottomup/merging.h"
#include "merging/label_maps.h"

namespace bottomup {
namespace {

/// Pieces that turn out to be one.
class UnionFind {
public:
  explicit UnionFind(int32_t count = 0) : parent_(count) {
    std::iota(parent_.begin(), parent_.end(), 0);
  }

  int32_t add() {
    parent_.push_back(static_cast<int32_t>(parent_.size()));
    return parent_.back();
  }
  int32_t find(int32_t piece) {
    while (parent_[piece] != piece)
      piece = parent_[piece] = parent_[parent_[piece]];
    return piece;
  }
  /// Both are named by the first of them.
  int32_t unite(int32_t one, int32_t other) {
    one = find(one), other = find(other);
    return parent_[std::max(one, other)] = std::min(one, other);
  }
  /// Both are named as the host is; neither has been given to another.
  void give(int32_t piece, int32_t host) { parent_[piece] = host; }

private:
  std::vector<int32_t> parent_;
};

/// The borders of the small labels, as lists that are joined without copying.
class Borders {
public:
  Borders(const LabelMap &labels, const std::vector<int64_t> &areas, int64_t min_area)
      : lists_(areas.size()) {
    const auto is_small = [&](int32_t label) { return label > 0 && areas[label] < min_area; };
    // A border runs along a row for many pixels.
    int32_t low = 0, high = 0;
    int64_t length = 0;
    const auto end_border = [&] {
      if (length > 0 && is_small(low))
        append(low, high, length);
      if (length > 0 && is_small(high))
        append(high, low, length);
    };
    const auto touch = [&](int32_t one, int32_t other) {
      if (one == other || one < 0 || other < 0)
        return;
      if (std::min(one, other) != low || std::max(one, other) != high) {
        end_border();
        low = std::min(one, other), high = std::max(one, other), length = 0;
      }
      ++length;
    };
    for (int64_t y = 0; y < labels.height; ++y) {
      const int32_t *row = labels.values.data() + y * labels.width;
      for (int64_t x = 1; x < labels.width; ++x)
        touch(row[x], row[x - 1]);
    }
    for (int64_t y = 1; y < labels.height; ++y) {
      const int32_t *row = labels.values.data() + y * labels.width;
      for (int64_t x = 0; x < labels.width; ++x)
        touch(row[x], row[x - labels.width]);
    }
    end_border();
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

std::vector<int64_t> label_areas(const LabelMap &labels) {
  std::vector<int64_t> areas(std::max(0, *std::ranges::max_element(labels.values)) + 1);
  for (const int32_t label : labels.values)
    if (label >= 0)
      ++areas[label];
  return areas;
}

LabelMap relabel_by_appearance(const LabelMap &labels) {
  check_labels(labels, -1, "labels");
  LabelMap result = labels;
  std::unordered_map<int32_t, int32_t> numbers;
  int32_t last = 0, number = 0;
  for (int32_t &label : result.values) {
    if (label > 0 && label != last) {
      last = label;
      number = numbers.try_emplace(label, static_cast<int32_t>(numbers.size()) + 1).first->second;
    }
    if (label > 0)
      label = number;
  }
  return result;
}

LabelMap split_components(const LabelMap &labels, int connectivity) {
  check_labels(labels, -1, "labels");
  if (connectivity != 1 && connectivity != 2)
    throw Error("connectivity: expected 1 or 2, got " + std::to_string(connectivity));
  LabelMap pieces(labels.height, labels.width, -1);
  UnionFind found;
  const int64_t width = labels.width, reach = connectivity == 2 ? 1 : 0;
  for (int64_t y = 0; y < labels.height; ++y) {
    const int32_t *row = labels.values.data() + y * width, *above = row - width;
    int32_t *piece_row = pieces.values.data() + y * width, *pieces_above = piece_row - width;
    for (int64_t begin = 0, end; begin < width; begin = end) {
      const int32_t label = row[begin];
      for (end = begin + 1; end < width && row[end] == label;)
        ++end;
      if (label <= 0)
        continue;
      // A run takes the piece of the runs above that it touches.
      int32_t piece = -1;
      const int64_t last = std::min(end + reach, width);
      for (int64_t x = std::max<int64_t>(begin - reach, 0); y > 0 && x < last; ++x)
        if (above[x] == label && pieces_above[x] != piece)
          piece = piece < 0 ? pieces_above[x] : found.unite(piece, pieces_above[x]);
      std::fill(piece_row + begin, piece_row + end, piece < 0 ? found.add() : piece);
    }
  }
  std::vector<int32_t> numbers;
  int32_t count = 0;
  for (int64_t i = 0; i < labels.size(); ++i) {
    int32_t &piece = pieces.values[i];
    if (piece < 0) {
      piece = std::min(labels.values[i], 0);
      continue;
    }
    const int32_t root = found.find(piece);
    if (root >= static_cast<int32_t>(numbers.size()))
      numbers.resize(root + 1, 0);
    if (numbers[root] == 0)
      numbers[root] = ++count;
    piece = numbers[root];
  }
  return pieces;
}

LabelMap fold_specks(const LabelMap &labels, int64_t min_area, const Similarity &similarity) {
  check_labels(labels, -1, "labels");
  const int32_t largest = std::max(0, *std::ranges::max_element(labels.values));
  if (largest > labels.size())
    throw Error("labels: label " + std::to_string(largest) + " exceeds the number of pixels, " +
                std::to_string(labels.size()));
  std::vector<int64_t> areas = label_areas(labels);
  using Speck = std::pair<int64_t, int32_t>; // area, label
  std::priority_queue<Speck, std::vector<Speck>, std::greater<>> queue;
  for (int32_t label = 1; label <= largest; ++label)
    if (areas[label] > 0 && areas[label] < min_area)
      queue.emplace(areas[label], label);
  if (queue.empty())
    return labels;

  Borders borders(labels, areas, min_area);
  UnionFind hosts(largest + 1);
  std::vector<int64_t> shared(largest + 1); // with each neighbour of the speck at hand
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
  LabelMap result = labels;
  for (int32_t &label : result.values)
    if (label >= 0)
      label = hosts.find(label);
  return result;
}

} // namespace bottomup
