// The exact Euclidean feature transform, in two passes along the axes (Maurer et al., PAMI 2003).
#include "merging/label_maps.h"

namespace bottomup {
namespace {

constexpr int64_t kNone = -1;

int64_t squared(int64_t value) { return value * value; }

/// Row of the nearest zero of each column's pixels; kNone in columns without.
Grid<int64_t> nearest_rows(const Grid<uint8_t> &mask) {
  Grid<int64_t> rows(mask.height, mask.width, kNone);
  for (int64_t x = 0; x < mask.width; ++x) {
    int64_t above = kNone;
    for (int64_t y = 0; y < mask.height; ++y)
      rows(y, x) = above = mask(y, x) ? above : y;
    int64_t below = kNone;
    for (int64_t y = mask.height - 1; y >= 0; --y) {
      below = mask(y, x) ? below : y;
      int64_t &nearest = rows(y, x);
      if (below != kNone && (nearest == kNone || below - y < y - nearest))
        nearest = below;
    }
  }
  return rows;
}

} // namespace

Grid<int64_t> nearest_zero(const Grid<uint8_t> &mask) {
  const Grid<int64_t> rows = nearest_rows(mask);
  Grid<int64_t> nearest(mask.height, mask.width);
  std::vector<int64_t> columns; // those that are nearest to some place of the row, from the left
  for (int64_t y = 0; y < mask.height; ++y) {
    const auto height = [&](int64_t x) { return squared(rows(y, x) - y); };
    columns.clear();
    for (int64_t x = 0; x < mask.width; ++x) {
      if (rows(y, x) == kNone)
        continue;
      while (columns.size() >= 2) {
        // The middle one of three goes where its parabola nowhere reaches below the others'.
        const int64_t left = columns[columns.size() - 2], middle = columns.back();
        const int64_t a = middle - left, b = x - middle;
        if ((a + b) * height(middle) - b * height(left) - a * height(x) <= a * b * (a + b))
          break;
        columns.pop_back();
      }
      columns.push_back(x);
    }
    size_t current = 0;
    for (int64_t x = 0; x < mask.width; ++x) {
      const auto distance = [&](int64_t column) { return height(column) + squared(column - x); };
      while (current + 1 < columns.size() &&
             distance(columns[current + 1]) < distance(columns[current]))
        ++current;
      nearest(y, x) = rows(y, columns[current]) * mask.width + columns[current];
    }
  }
  return nearest;
}

} // namespace bottomup
