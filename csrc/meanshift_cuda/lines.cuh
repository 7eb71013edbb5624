// Kernels on rows of lines, a warp for each.
#pragma once

#include "meanshift_cuda/block.cuh"
#include "meanshift_cuda/tiling.h"

namespace bottomup {

/// Copies a line with its component of largest magnitude, the first of equal ones, positive.
__device__ inline void store_canonical(const float *line, int64_t dimensions, float *target) {
  float largest = 0;
  int64_t place = dimensions;
  for (int64_t c = lane(); c < dimensions; c += kWarp)
    if (fabsf(line[c]) > fabsf(largest)) {
      largest = line[c];
      place = c;
    }
#pragma unroll
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    const float other = __shfl_xor_sync(kAllLanes, largest, distance);
    const int64_t other_place = __shfl_xor_sync(kAllLanes, place, distance);
    if (fabsf(other) > fabsf(largest) || (fabsf(other) == fabsf(largest) && other_place < place)) {
      largest = other;
      place = other_place;
    }
  }
  for (int64_t c = lane(); c < dimensions; c += kWarp)
    target[c] = largest < 0 ? -line[c] : line[c];
}

/// The lines of an image that are modes, in the caller's arrays; the rest of the rows are zero.
struct ModesTask {
  const float *lines; // (B, rows, padded)
  int64_t rows, padded;
  const int32_t *line_support; // (B, rows), or null if `support` has been written
  const int32_t *num_modes;    // (B), or null for all

  float *modes; // (B, most_modes, dimensions)
  int64_t most_modes, dimensions;
  int32_t *support; // (B, most_modes)
};

static __global__ void __launch_bounds__(kThreads) store_modes_kernel(ModesTask task) {
  const int64_t image = blockIdx.y, mode = int64_t{blockIdx.x} * warps() + warp();
  if (mode >= task.most_modes)
    return;
  const int64_t place = image * task.most_modes + mode;
  float *target = task.modes + place * task.dimensions;
  const bool exists = !task.num_modes || mode < task.num_modes[image];
  const int64_t row = image * task.rows + mode;
  if (exists)
    store_canonical(task.lines + row * task.padded, task.dimensions, target);
  else
    for (int64_t c = lane(); c < task.dimensions; c += kWarp)
      target[c] = 0;
  if (lane() == 0)
    task.support[place] = exists ? task.line_support[row] : 0;
}

} // namespace bottomup
