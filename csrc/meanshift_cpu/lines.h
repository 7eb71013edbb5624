// Lists of lines, one a row.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <vector>

#include "meanshift_cpu/products.h"

namespace bottomup {

struct Lines {
  explicit Lines(int64_t dimensions, int64_t count = 0)
      : dimensions(dimensions), values(dimensions * count) {}

  int64_t count() const { return static_cast<int64_t>(values.size()) / dimensions; }
  float *row(int64_t i) { return values.data() + i * dimensions; }
  const float *row(int64_t i) const { return values.data() + i * dimensions; }
  void append(const float *line) { values.insert(values.end(), line, line + dimensions); }
  void append(const Lines &lines) {
    values.insert(values.end(), lines.values.begin(), lines.values.end());
  }

  int64_t dimensions; // at least 1
  std::vector<float> values;
};

/// 0, 1, ..., count - 1.
inline std::vector<int32_t> range(int64_t count) {
  std::vector<int32_t> values(count);
  std::iota(values.begin(), values.end(), 0);
  return values;
}

/// Sixteen sums side by side, which every compiler vectorises the same way.
inline float dot(const float *a, const float *b, int64_t dimensions) {
  float sums[16] = {};
  int64_t d = 0;
  for (; d + 16 <= dimensions; d += 16)
    for (int64_t l = 0; l < 16; ++l)
      sums[l] += a[d + l] * b[d + l];
  for (int64_t l = 0; d + l < dimensions; ++l)
    sums[l] += a[d + l] * b[d + l];
  for (int64_t width = 8; width > 0; width /= 2)
    for (int64_t l = 0; l < width; ++l)
      sums[l] += sums[l + width];
  return sums[0];
}

/// Makes the component of largest magnitude, the first of equal ones, positive.
inline void make_canonical(float *line, int64_t dimensions) {
  const float *largest = std::max_element(
      line, line + dimensions, [](float a, float b) { return std::abs(a) < std::abs(b); });
  if (*largest < 0)
    for (int64_t d = 0; d < dimensions; ++d)
      line[d] = -line[d];
}

/// The line becomes normalise(sum), or stays if that is zero; returns how far it moved.
template <typename Sum> double move_line(float *line, const Sum *sum, int64_t dimensions) {
  double squares = 0;
  for (int64_t d = 0; d < dimensions; ++d)
    squares += static_cast<double>(sum[d]) * sum[d];
  if (!(squares > 0))
    return 0;
  const double scale = 1 / std::sqrt(squares);
  double moved = 0;
  for (int64_t d = 0; d < dimensions; ++d) {
    const auto value = static_cast<float>(sum[d] * scale);
    const double difference = static_cast<double>(value) - line[d];
    moved += difference * difference;
    line[d] = value;
  }
  return std::sqrt(moved);
}

/// Lines in blocks, as the products take them.
template <typename Products = Float32Products> typename Products::Matrix pack(const Lines &lines) {
  auto packed = Products::matrix(lines.count(), lines.dimensions);
  for (int64_t i = 0; i < lines.count(); ++i)
    for (int64_t d = 0; d < lines.dimensions; ++d)
      packed.set(i, d, lines.row(i)[d]);
  return packed;
}

} // namespace bottomup
