// Matrices in shared memory as the factors of m16n8k16, rows of 16-bit numbers `stride` apart.
#pragma once

#include "meanshift_cuda/block.cuh"

namespace bottomup {

// Rows of 16 numbers and more, so long, are an odd number of 16 bytes apart, so that ldmatrix meets
// no bank twice.
inline constexpr int kFragmentPadding = 8;

/// 16 rows of 16 numbers as the left factor.
template <int stride>
__device__ __forceinline__ void load_left(uint32_t (&left)[4], const Float16 *rows) {
  load_matrices(left, rows + lane() % 16 * stride + lane() / 16 * 8);
}

/// 16 rows of 16 numbers, each row a column of the right factor: two factors of 8 columns.
template <int stride>
__device__ __forceinline__ void load_right(uint32_t (&right)[4], const Float16 *rows) {
  load_matrices(right, rows + (lane() / 16 * 8 + lane() % 8) * stride + lane() / 8 % 2 * 8);
}

/// The same rows as rows of the right factor.
template <int stride>
__device__ __forceinline__ void load_right_rows(uint32_t (&right)[4], const Float16 *rows) {
  load_matrices_transposed(right, rows + lane() % 16 * stride + lane() / 16 * 8);
}

/// Adds the products with both right factors.
__device__ __forceinline__ void multiply_both(float (*sums)[4], const uint32_t (&left)[4],
                                              const uint32_t (&right)[4]) {
  multiply_float16(sums[0], left, {right[0], right[1]});
  multiply_float16(sums[1], left, {right[2], right[3]});
}

} // namespace bottomup
