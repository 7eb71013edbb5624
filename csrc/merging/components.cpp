// Label maps as pieces: numbering, connected pieces, specks folded into their neighbours.
#include <algorithm>
#include <limits>
#include <map>
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

using Borders = std::vector<std::map<int32_t, int64_t>>;

/// Pieces of pixels that turn out to be one, each named by its first.
class UnionFind {
public:
  int32_t add() {
    parent_.push_back(static_cast<int32_t>(parent_.size()));
    return parent_.back();
  }
  int32_t find(int32_t piece) {
    while (parent_[piece] != piece)
      piece = parent_[piece] = parent_[parent_[piece]];
    return piece;
  }
  int32_t unite(int32_t one, int32_t other) {
    one = find(one), other = find(other);
    return parent_[std::max(one, other)] = std::min(one, other);
  }

private:
  std::vector<int32_t> parent_;
};

/// borders[a][b]: pairs of 4-neighbours of labels a != b, both at least 0.
Borders shared_borders(const LabelMap &labels, int32_t largest) {
  Borders borders(largest + 1);
  // A border runs along a row for many pixels.
  int32_t low = 0, high = 0;
  int64_t length = 0;
  const auto touch = [&](int32_t one, int32_t other) {
    if (one == other || one < 0 || other < 0)
      return;
    if (std::min(one, other) != low || std::max(one, other) != high) {
      if (length > 0)
        borders[low][high] = borders[high][low] += length;
      low = std::min(one, other), high = std::max(one, other), length = 0;
    }
    ++length;
  };
  for (int64_t y = 0; y < labels.height; ++y)
    for (int64_t x = 1; x < labels.width; ++x)
      touch(labels(y, x), labels(y, x - 1));
  for (int64_t y = 1; y < labels.height; ++y)
    for (int64_t x = 0; x < labels.width; ++x)
      touch(labels(y, x), labels(y - 1, x));
  if (length > 0)
    borders[low][high] = borders[high][low] += length;
  return borders;
}

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
  for (int64_t y = 0; y < labels.height; ++y)
    for (int64_t x = 0; x < labels.width; ++x) {
      const int32_t label = labels(y, x);
      if (label <= 0)
        continue;
      int32_t piece = -1;
      const auto join = [&](int64_t row, int64_t column) {
        if (row >= 0 && column >= 0 && column < labels.width && labels(row, column) == label) {
          const int32_t other = pieces(row, column);
          piece = piece < 0 || piece == other ? other : found.unite(piece, other);
        }
      };
      join(y, x - 1);
      join(y - 1, x);
      if (connectivity == 2) {
        join(y - 1, x - 1);
        join(y - 1, x + 1);
      }
      pieces(y, x) = piece < 0 ? found.add() : piece;
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

  Borders borders = shared_borders(labels, largest);
  std::vector<Speck> folds; // host, speck
  while (!queue.empty()) {
    const auto [area, speck] = queue.top();
    queue.pop();
    if (area != areas[speck] || borders[speck].empty())
      continue;
    auto best = std::tuple(-std::numeric_limits<double>::infinity(), int64_t{0}, 0);
    bool first = true;
    for (const auto &[other, length] : borders[speck]) {
      const auto candidate = std::tuple(similarity ? similarity(speck, other) : 0, length, -other);
      if (first || candidate > best)
        best = candidate;
      first = false;
    }
    const int32_t host = -std::get<2>(best);
    folds.emplace_back(host, speck);
    areas[host] += area;
    areas[speck] = 0;
    for (const auto &[other, length] : std::exchange(borders[speck], {})) {
      borders[other].erase(speck);
      if (other != host) {
        borders[host][other] += length;
        borders[other][host] += length;
      }
    }
    if (host > 0 && areas[host] < min_area)
      queue.emplace(areas[host], host);
  }
  std::vector<int32_t> final(largest + 1);
  std::iota(final.begin(), final.end(), 0);
  for (auto fold = folds.rbegin(); fold != folds.rend(); ++fold)
    final[fold->second] = final[fold->first];
  LabelMap result = labels;
  for (int32_t &label : result.values)
    if (label >= 0)
      label = final[label];
  return result;
}

} // namespace bottomup
