// The segment space of an image (eq. 7), by one block: (M^T M)^-1 of its entities' lines, unless it
// is degenerate.
#pragma once

#include <cstdint>

#include "losses_cuda/block.cuh"
#include "losses_cuda/feature_block.cuh"
#include "losses_cuda/image_lines.h"
#include "losses_cuda/principal_line.cuh"

namespace bottomup {

inline constexpr double kSimilar = 0.98;
inline constexpr double kConditionLimit = 1e4;
inline constexpr int kDescribing = 256; // threads

/// gram = M^T M, of which one half is computed; false if two lines are too similar. A thread takes
/// kHigh x kWide products, and a warp such blocks side by side.
__device__ inline bool multiply_lines(const ImageLines &images, int64_t image, int size,
                                      double *gram, int32_t *similar) {
  constexpr int kHigh = 8, kWide = 4;
  const int down = (size + kHigh - 1) / kHigh, across = (size + kWide - 1) / kWide;
  if (threadIdx.x == 0)
    *similar = 0;
  __syncthreads();
  for (int item = threadIdx.x; item < down * across; item += kDescribing) {
    const int row = item / across * kHigh, column = item % across * kWide;
    if (column + kWide <= row)
      continue;
    const float *lines = images.to_cosines + image * images.dimensions * images.stride;
    double products[kHigh][kWide] = {};
    for (int d = 0; d < images.dimensions; ++d) {
      float left[kHigh / 4][4], right[kWide];
#pragma unroll
      for (int part = 0; part < kHigh / 4; ++part)
        load_four(lines + row + 4 * part, left[part]);
      load_four(lines + column, right);
#pragma unroll
      for (int i = 0; i < kHigh; ++i)
#pragma unroll
        for (int j = 0; j < kWide; ++j)
          products[i][j] += static_cast<double>(left[i / 4][i % 4]) * right[j];
      lines += images.stride;
    }
#pragma unroll
    for (int i = 0; i < kHigh; ++i)
#pragma unroll
      for (int j = 0; j < kWide; ++j)
        if (row + i <= column + j && column + j < size) {
          gram[static_cast<int64_t>(row + i) * size + column + j] = products[i][j];
          gram[static_cast<int64_t>(column + j) * size + row + i] = products[i][j];
          if (row + i != column + j && fabs(products[i][j]) > kSimilar)
            atomicOr(similar, 1);
        }
  }
  __syncthreads();
  return *similar == 0;
}

/// Replaces a symmetric positive definite matrix by its inverse, by Gauss and Jordan's elimination,
/// which needs no pivoting then; false if it is not.
__device__ inline bool invert(double *matrix, int size, double *row, double *column) {
  for (int k = 0; k < size; ++k) {
    __syncthreads();
    const double pivot = matrix[static_cast<int64_t>(k) * size + k];
    if (!(pivot > 0))
      return false;
    for (int i = threadIdx.x; i < size; i += kDescribing) {
      row[i] = matrix[static_cast<int64_t>(k) * size + i] / pivot;
      column[i] = matrix[static_cast<int64_t>(i) * size + k];
    }
    __syncthreads();
    for (int item = threadIdx.x; item < size * size; item += kDescribing) {
      const int i = item / size, j = item % size;
      if (i != k && j != k)
        matrix[item] -= column[i] * row[j];
      else if (i == k && j == k)
        matrix[item] = 1 / pivot;
      else
        matrix[item] = i == k ? row[j] : -column[i] / pivot;
    }
  }
  __syncthreads();
  return true;
}

/// Rows of (M^T M)^-1 M^T, from the inverse of the Gram matrix: a warp takes kRows of them at a
/// time and reads each line once for all.
__device__ inline void invert_products(const ImageLines &images, int64_t image, int size,
                                       const double *gram) {
  constexpr int kRows = 8;
  const float *lines = images.lines + image * images.labels * images.dimensions;
  const int64_t first = image * images.most_segments * images.dimensions;
  const int blocks = images.dimensions / 4, lanes = (blocks + kWarp - 1) / kWarp * kWarp;
  for (int item = threadIdx.x; item < (size + kRows - 1) / kRows * lanes; item += kDescribing) {
    const int row = item / lanes * kRows, d = item % lanes * 4;
    if (d >= images.dimensions)
      continue;
    double sums[kRows][4] = {};
    for (int j = 0; j < size; ++j) {
      float values[4];
      load_four(lines + static_cast<int64_t>(j) * images.dimensions + d, values);
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        const double weight = row + i < size ? gram[static_cast<int64_t>(j) * size + row + i] : 0;
#pragma unroll
        for (int c = 0; c < 4; ++c)
          sums[i][c] += weight * values[c];
      }
    }
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const float inverse[4] = {static_cast<float>(sums[i][0]), static_cast<float>(sums[i][1]),
                                static_cast<float>(sums[i][2]), static_cast<float>(sums[i][3])};
      const int64_t target = first + static_cast<int64_t>(row + i) * images.dimensions + d;
      if (row + i < size && images.inverse.rounded)
        store_four(images.inverse.rounded + target, inverse);
      else if (row + i < size)
        store_four(images.inverse.exact + target, inverse);
    }
  }
}

/// (M^T M)^-1 of the entities' lines; false where the segment space is degenerate (eq. 7).
__device__ inline bool invert_lines(const ImageLines &images, int64_t image, int size,
                                    int dimensions, int32_t *similar, double *gram, double *cross) {
  if (size == 0 || size > dimensions)
    return false;
  const int64_t most = images.most_segments;
  if (!multiply_lines(images, image, size, gram, similar))
    return false;
  for (int i = 0; i < size; ++i)
    if (!(gram[static_cast<int64_t>(i) * size + i] > 0))
      return false;
  void *space = cross + 2 * most;
  const float largest = principal_line(gram, size, size, nullptr, space);
  if (!invert(gram, size, cross, cross + most))
    return false;
  const float inverse_of_least = principal_line(gram, size, size, nullptr, space);
  if (!(static_cast<double>(largest) * inverse_of_least < kConditionLimit))
    return false;
  float *result = images.to_segments + image * most * images.stride;
  for (int item = threadIdx.x; item < size * images.stride; item += kDescribing) {
    const int row = item / images.stride, column = item % images.stride;
    result[item] =
        column < size ? static_cast<float>(gram[static_cast<int64_t>(row) * size + column]) : 0.0f;
  }
  if (images.inverse_wanted)
    invert_products(images, image, size, gram);
  return true;
}

/// Of a row and a column of the matrix to invert, then the space of its eigenvalue, in doubles.
__host__ __device__ inline int64_t space_bytes(int64_t most_segments) {
  return (2 * most_segments * static_cast<int64_t>(sizeof(double)) +
          principal_line_bytes(most_segments) + 7) /
         8 * 8;
}

} // namespace bottomup
