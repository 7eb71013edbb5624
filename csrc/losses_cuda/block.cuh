// What the threads of a warp or a block do together.
#pragma once

#include "common/warp.cuh"

namespace bottomup {

/// The sum over the block, the same bits in every thread. partial: shared, one of each warp.
template <typename T> __device__ __forceinline__ T block_sum(T value, T *partial) {
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  value = warp_sum(value);
  __syncthreads();
  if (threadIdx.x % kWarp == 0)
    partial[threadIdx.x / kWarp] = value;
  __syncthreads();
  T sum = 0;
  for (int warp = 0; warp < warps; ++warp)
    sum += partial[warp];
  return sum;
}

} // namespace bottomup
