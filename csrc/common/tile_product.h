// A small matrix times a tile of pixels, the product of all kernels that work pixel by pixel.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "common/bfloat16_pair.h"
#include "common/feature_tile.h"
#include "common/simd.h"
#include "common/vector.h"

namespace bottomup {

/// Rows multiplied at a time: with two vectors of pixels the sums fit the registers, which are 32
/// with AVX-512 and 16 without.
template <int lanes> inline constexpr int64_t kBlockRows = lanes == 16 ? 12 : 6;

/// Two rows as operands of products of bfloat16.
struct alignas(64) PairRow {
  BFloat16Pair pixel[kTile];
};

/// Writes `count` pairs of rows, of which there are `num_rows`; what is missing is zero.
BOTTOMUP_ALWAYS_INLINE void round_rows(const Row *rows, int64_t num_rows, int64_t count,
                                       PairRow *pairs) {
  // A choice between rows inside the loop over pixels would keep compilers from vectors.
  int64_t i = 0;
  for (; 2 * i + 1 < num_rows; ++i)
    for (int64_t p = 0; p < kTile; ++p)
      pairs[i].pixel[p] = rounded_pair(rows[2 * i].pixel[p], rows[2 * i + 1].pixel[p]);
  for (; 2 * i < num_rows; ++i)
    for (int64_t p = 0; p < kTile; ++p)
      pairs[i].pixel[p] = rounded_pair(rows[2 * i].pixel[p], 0);
  std::fill(pairs + i, pairs + count, PairRow{});
}

/// A (rows, columns) matrix of operands in blocks of `block` rows, (blocks, operands of a row,
/// block); what is missing is zero.
template <typename Operand = float> class PackedMatrix {
public:
  PackedMatrix() = default;
  PackedMatrix(int64_t rows, int64_t columns, int64_t block)
      : rows_(rows), operands_(ceil_div(columns, kNumbers<Operand>)), block_(block),
        values_(ceil_div(rows, block) * operands_ * block) {}

  void set(int64_t row, int64_t column, float value) {
    Operand &operand =
        values_[(row / block_ * operands_ + column / kNumbers<Operand>)*block_ + row % block_];
    if constexpr (kNumbers<Operand> == 1)
      operand = value;
    else
      operand |= column % 2 == 0 ? rounded_pair(value, 0) : rounded_pair(0, value);
  }
  const Operand *block(int64_t row) const { return values_.data() + row * operands_; }
  int64_t rows() const { return rows_; }
  int64_t operands() const { return operands_; }
  int64_t block_rows() const { return block_; }

private:
  int64_t rows_ = 0, operands_ = 0, block_ = 1;
  std::vector<Operand> values_;
};

/// output[r][p] = sum over k of matrix[row + r][k] * input[k][p] for the first `rows` rows of the
/// block that starts at `row`, some vectors of pixels at a time.
template <int lanes, int rows, int vectors = 2, typename Operand>
BOTTOMUP_ALWAYS_INLINE void multiply_rows(const PackedMatrix<Operand> &matrix, int64_t row,
                                          const Operand *input, int64_t input_stride, float *output,
                                          int64_t output_stride) {
  const Operand *weights = matrix.block(row);
  const int64_t operands = matrix.operands(), block = matrix.block_rows();
  const int64_t used = std::min<int64_t>(rows, matrix.rows() - row);
  for (int64_t first = 0; first < kTile; first += vectors * lanes) {
    Vector<lanes> sums[rows][vectors] = {};
    for (int64_t k = 0; k < operands; ++k) {
      decltype(load<lanes>(input)) pixels[vectors];
      BOTTOMUP_UNROLL
      for (int v = 0; v < vectors; ++v)
        pixels[v] = load<lanes>(input + k * input_stride + first + v * lanes);
      BOTTOMUP_UNROLL
      for (int r = 0; r < rows; ++r)
        BOTTOMUP_UNROLL
      for (int v = 0; v < vectors; ++v)
        sums[r][v] = multiply_add<lanes>(sums[r][v], weights[k * block + r], pixels[v]);
    }
    for (int64_t r = 0; r < used; ++r)
      for (int v = 0; v < vectors; ++v)
        store<lanes>(output + r * output_stride + first + v * lanes, sums[r][v]);
  }
}

/// The block of a packed matrix that starts at `row`, times `input` (operands of a column, kTile):
/// output[r][p] = sum over k of matrix[row + r][k] * input[k][p]. Strides are in operands.
template <int lanes, typename Operand>
BOTTOMUP_ALWAYS_INLINE void multiply_block(const PackedMatrix<Operand> &matrix, int64_t row,
                                           const Operand *input, int64_t input_stride,
                                           float *output, int64_t output_stride) {
  constexpr int rows = kBlockRows<lanes>;
  const int64_t used = matrix.rows() - row;
  // Rows beyond the matrix would cost as much as others.
  if (used > rows * 2 / 3)
    multiply_rows<lanes, rows>(matrix, row, input, input_stride, output, output_stride);
  else if (used > rows / 3)
    multiply_rows<lanes, rows * 2 / 3>(matrix, row, input, input_stride, output, output_stride);
  else
    multiply_rows<lanes, rows / 3>(matrix, row, input, input_stride, output, output_stride);
}

/// All rows of the product.
template <int lanes, typename Operand>
BOTTOMUP_ALWAYS_INLINE void multiply_tile(const PackedMatrix<Operand> &matrix, const Operand *input,
                                          int64_t input_stride, float *output,
                                          int64_t output_stride) {
  for (int64_t row = 0; row < matrix.rows(); row += kBlockRows<lanes>)
    multiply_block<lanes>(matrix, row, input, input_stride, output + row * output_stride,
                          output_stride);
}

} // namespace bottomup
