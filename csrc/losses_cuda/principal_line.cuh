// The largest eigenvalue of a symmetric matrix and its eigenvector, by one block.
#pragma once

#include <cstdint>

#include "common/ptx.h"
#include "losses_cuda/block.cuh"

namespace bottomup {

// Vectors of a Krylov space before it is restarted from its best one: most matrices of one entity
// need a single space, and their projection is solved by one warp.
inline constexpr int kKrylov = 16;
inline constexpr int kRestarts = 64;
inline constexpr float kResidual = 2e-7f; // in eigenvalues; float32 rounds a product by 1e-7 of it

/// The projected, tridiagonal problem of one Krylov space.
struct Tridiagonal {
  double diagonal[kKrylov], beside[kKrylov], pivots[kKrylov], weights[kKrylov];
  double value;
  float overlaps[kKrylov];
  float partial[kWarp];
};

/// Space of principal_line: a Tridiagonal, then the basis and its next vector.
constexpr int64_t principal_line_bytes(int64_t size) {
  return static_cast<int64_t>(sizeof(Tridiagonal)) +
         (kKrylov + 1) * size * static_cast<int64_t>(sizeof(float));
}

/// Whether `shift` is above every eigenvalue.
__device__ inline bool above_all(const Tridiagonal &matrix, int size, double shift) {
  double pivot = shift - matrix.diagonal[0];
  for (int i = 1; pivot > 0 && i < size; ++i)
    pivot = shift - matrix.diagonal[i] - matrix.beside[i - 1] * matrix.beside[i - 1] / pivot;
  return pivot > 0;
}

/// Largest eigenvalue and its unit eigenvector of the projected problem, by the first warp: every
/// lane tries a shift, until they agree on the least one above all; then inverse iteration there,
/// where the shifted matrix is definite and needs no pivoting.
__device__ inline void solve(Tridiagonal &matrix, int size) {
  const int lane = threadIdx.x;
  double low = matrix.diagonal[0], high = low;
  for (int i = 0; i < size; ++i) {
    const double radius =
        (i > 0 ? matrix.beside[i - 1] : 0) + (i + 1 < size ? matrix.beside[i] : 0);
    low = matrix.diagonal[i] > low ? matrix.diagonal[i] : low;
    high = matrix.diagonal[i] + radius > high ? matrix.diagonal[i] + radius : high;
  }
  high *= 1 + 1e-14;
  for (int i = 0; i < 11; ++i) {
    const double width = (high - low) / (kWarp + 1);
    const unsigned above =
        __ballot_sync(kAllLanes, above_all(matrix, size, low + (lane + 1) * width));
    const int first = above == 0 ? kWarp : __ffs(static_cast<int>(above)) - 1;
    high = first == kWarp ? high : low + (first + 1) * width;
    low += first * width;
  }
  if (lane == 0) {
    double shift = high * (1 + 1e-14);
    while (!above_all(matrix, size, shift))
      shift += (shift - high) + 1e-300;
    matrix.value = high;
    matrix.pivots[0] = shift - matrix.diagonal[0];
    for (int i = 1; i < size; ++i)
      matrix.pivots[i] = shift - matrix.diagonal[i] -
                         matrix.beside[i - 1] * matrix.beside[i - 1] / matrix.pivots[i - 1];
    for (int i = 0; i < size; ++i)
      matrix.weights[i] = 1;
    for (int step = 0; step < 3; ++step) {
      for (int i = 1; i < size; ++i)
        matrix.weights[i] += matrix.beside[i - 1] / matrix.pivots[i - 1] * matrix.weights[i - 1];
      matrix.weights[size - 1] /= matrix.pivots[size - 1];
      for (int i = size - 2; i >= 0; --i)
        matrix.weights[i] =
            (matrix.weights[i] + matrix.beside[i] * matrix.weights[i + 1]) / matrix.pivots[i];
      double squares = 0;
      for (int i = 0; i < size; ++i)
        squares += matrix.weights[i] * matrix.weights[i];
      const double scale = 1 / sqrt(squares);
      for (int i = 0; i < size; ++i)
        matrix.weights[i] *= scale;
    }
  }
}

/// The same number in [-1, -0.5] or [0.5, 1] every time: no structure of a matrix is orthogonal.
__device__ inline float start_component(int index) {
  uint32_t bits = static_cast<uint32_t>(index) * 0x9E3779B9u + 0x85EBCA6Bu;
  bits = (bits ^ (bits >> 15)) * 0x2C1B3C6Du;
  bits = (bits ^ (bits >> 12)) * 0x297A2D39u;
  bits ^= bits >> 15;
  const float size = 0.5f + static_cast<float>(bits >> 9) * 0x1p-24f;
  return (bits & 1u) != 0 ? size : -size;
}

/// Lanczos iteration with full orthogonalisation, restarted: the residual is at most kResidual
/// eigenvalues, the angle to the true line that over the relative gap.
///
/// matrix: (size, size) symmetric, positive semi-definite and not zero, rows `stride` apart.
/// vector: (size), written: unit length, the component of largest magnitude positive; null for the
/// eigenvalue alone, which every thread gets. space: principal_line_bytes(size), shared or global.
template <typename Number>
__device__ float principal_line(const Number *matrix, int64_t stride, int size, float *vector,
                                void *space) {
  Tridiagonal &projected = *static_cast<Tridiagonal *>(space);
  float *basis = reinterpret_cast<float *>(&projected + 1), *next = basis + kKrylov * size;
  const int thread = threadIdx.x, threads = blockDim.x, lane = thread % kWarp;
  const int warp = thread / kWarp, warps = threads / kWarp;
  const auto length_of_next = [&] {
    float squares = 0;
    for (int i = thread; i < size; i += threads)
      squares += next[i] * next[i];
    return sqrtf(block_sum(squares, projected.partial));
  };

  for (int i = thread; i < size; i += threads)
    next[i] = start_component(i);
  float value = 0;
  for (int restart = 0; restart < kRestarts; ++restart) {
    int used = 0;
    float length = length_of_next();
    while (used < kKrylov && used < size) {
      float *current = basis + used * size;
      for (int i = thread; i < size; i += threads)
        current[i] = next[i] / length;
      __syncthreads();
      for (int row = warp; row < size; row += warps) {
        float sum = 0;
        for (int i = lane; i < size; i += kWarp)
          sum += static_cast<float>(matrix[row * stride + i]) * current[i];
        sum = warp_sum(sum);
        if (lane == 0)
          next[row] = sum;
      }
      ++used;
      for (int twice = 0; twice < 2; ++twice) {
        __syncthreads();
        for (int other = warp; other < used; other += warps) {
          float overlap = 0;
          for (int i = lane; i < size; i += kWarp)
            overlap += basis[other * size + i] * next[i];
          overlap = warp_sum(overlap);
          if (lane == 0)
            projected.overlaps[other] = overlap;
        }
        __syncthreads();
        if (thread == 0 && twice == 0)
          projected.diagonal[used - 1] = projected.overlaps[used - 1];
        for (int i = thread; i < size; i += threads) {
          float sum = next[i];
          for (int other = 0; other < used; ++other)
            sum -= projected.overlaps[other] * basis[other * size + i];
          next[i] = sum;
        }
      }
      length = length_of_next();
      if (thread == 0)
        projected.beside[used - 1] = length;
      // Nothing is left but rounding: the space holds the line.
      if (length <= kResidual * static_cast<float>(projected.diagonal[0]))
        break;
    }
    __syncthreads();
    if (warp == 0)
      solve(projected, used);
    __syncthreads();
    value = static_cast<float>(projected.value);
    const float residual = length * fabsf(static_cast<float>(projected.weights[used - 1]));
    for (int i = thread; i < size; i += threads) {
      float sum = 0;
      for (int j = 0; j < used; ++j)
        sum += static_cast<float>(projected.weights[j]) * basis[j * size + i];
      next[i] = sum;
    }
    __syncthreads();
    if (used == size || residual <= kResidual * value)
      break;
  }

  if (vector) {
    int largest = 0;
    for (int i = 1; i < size; ++i)
      largest = fabsf(next[i]) > fabsf(next[largest]) ? i : largest;
    const float scale = (next[largest] < 0 ? -1.0f : 1.0f) / length_of_next();
    for (int i = thread; i < size; i += threads)
      vector[i] = next[i] * scale;
  }
  __syncthreads();
  return value;
}

} // namespace bottomup
