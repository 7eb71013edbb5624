// A small matrix times a tile of pixels, the product of all kernels that work pixel by pixel.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "common/feature_tile.h"
#include "common/simd.h"
#include "common/vector.h"

namespace bottomup {

/// Rows multiplied at a time: with two vectors of pixels the sums fit the registers, which are 32
/// with AVX-512 and 16 without.
template <int lanes> inline constexpr int64_t kBlockRows = lanes == 16 ? 12 : 6;

/// A (rows, columns) matrix in blocks of `block` rows, (blocks, columns, block); missing rows are
/// zero.
class PackedMatrix {
public:
  PackedMatrix() = default;
  PackedMatrix(int64_t rows, int64_t columns, int64_t block)
      : rows_(rows), columns_(columns), block_(block),
        values_(ceil_div(rows, block) * columns * block) {}

  float &at(int64_t row, int64_t column) {
    return values_[(row / block_ * columns_ + column) * block_ + row % block_];
  }
  const float *block(int64_t row) const { return values_.data() + row * columns_; }
  int64_t rows() const { return rows_; }
  int64_t columns() const { return columns_; }

private:
  int64_t rows_ = 0, columns_ = 0, block_ = 1;
  std::vector<float> values_;
};

/// The block of a packed matrix that starts at `row`, times `input` (columns, kTile):
/// output[r][p] = sum over k of matrix[row + r][k] * input[k][p]. Strides are in floats.
template <int lanes>
BOTTOMUP_ALWAYS_INLINE void multiply_block(const PackedMatrix &matrix, int64_t row,
                                           const float *input, int64_t input_stride, float *output,
                                           int64_t output_stride) {
  constexpr int64_t rows = kBlockRows<lanes>;
  const float *weights = matrix.block(row);
  const int64_t columns = matrix.columns();
  const int64_t used = std::min(rows, matrix.rows() - row);
  for (int64_t first = 0; first < kTile; first += 2 * lanes) {
    Vector<lanes> sums[rows][2] = {};
    for (int64_t k = 0; k < columns; ++k) {
      const float *source = input + k * input_stride + first;
      const Vector<lanes> left = load<lanes>(source), right = load<lanes>(source + lanes);
      BOTTOMUP_UNROLL
      for (int64_t r = 0; r < rows; ++r) {
        sums[r][0] += weights[k * rows + r] * left;
        sums[r][1] += weights[k * rows + r] * right;
      }
    }
    for (int64_t r = 0; r < used; ++r) {
      store<lanes>(output + r * output_stride + first, sums[r][0]);
      store<lanes>(output + r * output_stride + first + lanes, sums[r][1]);
    }
  }
}

/// All rows of the product.
template <int lanes>
BOTTOMUP_ALWAYS_INLINE void multiply_tile(const PackedMatrix &matrix, const float *input,
                                          int64_t input_stride, float *output,
                                          int64_t output_stride) {
  for (int64_t row = 0; row < matrix.rows(); row += kBlockRows<lanes>)
    multiply_block<lanes>(matrix, row, input, input_stride, output + row * output_stride,
                          output_stride);
}

} // namespace bottomup
