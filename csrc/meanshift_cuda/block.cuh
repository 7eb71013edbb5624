// What the threads of a block do together.
#pragma once

#include <cstdint>

#include "common/warp.cuh"

namespace bottomup {

__device__ __forceinline__ int thread() { return static_cast<int>(threadIdx.x); }
__device__ __forceinline__ int threads() { return static_cast<int>(blockDim.x); }
__device__ __forceinline__ int lane() { return thread() % kWarp; }
__device__ __forceinline__ int warp() { return thread() / kWarp; }
__device__ __forceinline__ int warps() { return threads() / kWarp; }

/// The place of the bit with the given number among those set.
__device__ inline int place_of_bit(uint32_t word, int number) {
  for (; number > 0; --number)
    word &= word - 1;
  return __ffs(static_cast<int>(word)) - 1;
}

/// What `block_scan` needs in shared memory, in numbers.
inline constexpr int kScanShared = kWarp;

struct Scan {
  int before; // sum over the threads before this one
  int total;
};

__device__ inline Scan block_scan(int value, int *shared) {
  int sum = value;
#pragma unroll
  for (int distance = 1; distance < kWarp; distance *= 2) {
    const int other = __shfl_up_sync(kAllLanes, sum, distance);
    sum += lane() >= distance ? other : 0;
  }
  __syncthreads(); // the numbers of an earlier scan have been read
  if (lane() == kWarp - 1)
    shared[warp()] = sum;
  __syncthreads();
  Scan result{sum - value, 0};
  for (int i = 0; i < warps(); ++i) {
    result.before += i < warp() ? shared[i] : 0;
    result.total += shared[i];
  }
  return result;
}

/// Sorts `size` keys, a power of two, the largest first (Batcher's bitonic network).
__device__ inline void sort_descending(uint64_t *keys, int size) {
  for (int length = 2; length <= size; length *= 2)
    for (int distance = length / 2; distance > 0; distance /= 2) {
      __syncthreads();
      for (int i = thread(); i < size / 2; i += threads()) {
        const int low = 2 * i - i % distance, high = low + distance;
        const uint64_t first = keys[low], second = keys[high];
        const bool descending = (low & length) == 0;
        if ((first < second) == descending) {
          keys[low] = second;
          keys[high] = first;
        }
      }
    }
  __syncthreads();
}

} // namespace bottomup
