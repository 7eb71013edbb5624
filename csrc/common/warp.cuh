// What the threads of a warp do together.
#pragma once

#include "common/ptx.h"

namespace bottomup {

/// The sum over the warp, the same bits in every lane.
template <typename T> __device__ __forceinline__ T warp_sum(T value) {
#pragma unroll
  for (int distance = kWarp / 2; distance > 0; distance /= 2)
    value += __shfl_xor_sync(kAllLanes, value, distance);
  return value;
}

} // namespace bottomup
