// Changing the size of images and maps, with the arithmetic of torch and of the Python package.
#pragma once

#include <cstdint>
#include <vector>

#include "bottomup/types.h"

namespace bottomup {

/// Three planes of an image: (3, H, W).
struct Planes {
  int64_t height = 0, width = 0;
  std::vector<float> values;

  Planes() = default;
  Planes(int64_t rows, int64_t columns)
      : height(rows), width(columns), values(static_cast<size_t>(3 * rows * columns)) {}
  int64_t pixels() const { return height * width; }
};

/// Bilinear, averaging where it shrinks: torch's interpolate with antialias, bit for bit.
Planes resize(const Planes &image, int64_t height, int64_t width);

/// Where a pixel of a map of `size` lies in one of `old`, at its centre.
std::vector<int64_t> nearest_positions(int64_t size, int64_t old);

/// Each pixel the value at its centre.
template <typename T> Grid<T> resize_nearest(const Grid<T> &map, int64_t height, int64_t width) {
  if (map.height == height && map.width == width)
    return map;
  const std::vector<int64_t> rows = nearest_positions(height, map.height),
                             columns = nearest_positions(width, map.width);
  Grid<T> result(height, width);
  for (int64_t y = 0; y < height; ++y)
    for (int64_t x = 0; x < width; ++x)
      result(y, x) = map(rows[y], columns[x]);
  return result;
}

} // namespace bottomup
