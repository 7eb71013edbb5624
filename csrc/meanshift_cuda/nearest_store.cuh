// What becomes of the nearest modes of 32 neighbouring pixels, one a lane.
#pragma once

#include "meanshift_cuda/block.cuh"
#include "meanshift_cuda/nearest.h"

namespace bottomup {

/// `best` and `nearest` are 0 where no mode has a product with the pixel.
__device__ inline void store_nearest(const NearestTask &task, int64_t image, int64_t pixel,
                                     float best, int nearest) {
  if (task.uncovered) {
    const uint32_t outside = __ballot_sync(kAllLanes, best < task.window);
    const int64_t word = pixel / kWarp;
    if (lane() == 0 && word < task.words)
      task.uncovered[image * task.words + word] =
          outside & task.has_line[image * task.words + word];
  }
  if (pixel >= task.features.pixels)
    return;
  const int64_t place = image * task.features.pixels + pixel;
  const bool out = task.mask && !task.mask[place];
  if (task.index)
    task.index[place] = out ? -1 : task.num_modes[image] > 0 ? nearest : task.none;
  if (task.score)
    task.score[place] = out ? 0.0f : fminf(best, 1.0f); // rounding takes it past 1
}

} // namespace bottomup
