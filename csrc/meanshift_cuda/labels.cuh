// From the nearest modes of pixels to labels in order of first appearance.
#pragma once

#include "meanshift_cuda/block.cuh"
#include "meanshift_cuda/tiling.h"

namespace bottomup {

struct LabelsTask {
  int32_t *labels; // (B, N): a mode's position, -1 where the mask leaves the pixel out; written
  int64_t pixels;
  const int32_t *num_modes; // (B)
  int64_t most_modes;
  int32_t *first_pixels, *numbers; // (B, most_modes)
  int32_t *num_segments;           // (B)
};

static __global__ void __launch_bounds__(kThreads) clear_first_kernel(LabelsTask task) {
  const int64_t mode = int64_t{blockIdx.x} * threads() + thread();
  if (mode < task.most_modes)
    task.first_pixels[blockIdx.y * task.most_modes + mode] = static_cast<int32_t>(task.pixels);
}

/// The first pixel of each mode; the first lane of a warp speaks for those of its mode.
static __global__ void __launch_bounds__(kThreads) find_first_kernel(LabelsTask task) {
  const int64_t image = blockIdx.y, pixel = int64_t{blockIdx.x} * threads() + thread();
  const int32_t mode = pixel < task.pixels ? task.labels[image * task.pixels + pixel] : -1;
  const unsigned same = __match_any_sync(kAllLanes, mode);
  if (mode >= 0 && lane() == __ffs(static_cast<int>(same)) - 1)
    atomicMin(task.first_pixels + image * task.most_modes + mode, static_cast<int32_t>(pixel));
}

/// The number of a mode: how many appear before it, and one. In an image without modes all pixels
/// belong to position 0.
static __global__ void __launch_bounds__(kWideThreads) number_kernel(LabelsTask task) {
  auto *first_pixels = shared_memory<int32_t>(); // (most_modes)
  const int64_t image = blockIdx.x, first = image * task.most_modes;
  const int count = max(task.num_modes[image], 1);
  for (int i = thread(); i < count; i += threads())
    first_pixels[i] = task.first_pixels[first + i];
  __syncthreads();
  for (int i = thread(); i < count; i += threads()) {
    int before = 0;
    for (int j = 0; j < count; ++j)
      before += first_pixels[j] < first_pixels[i];
    task.numbers[first + i] = before + 1;
  }
  if (warp() == 0) {
    int segments = 0;
    for (int i = lane(); i < count; i += kWarp)
      segments += first_pixels[i] < task.pixels;
    segments = warp_sum(segments);
    if (lane() == 0)
      task.num_segments[image] = segments;
  }
}

static __global__ void __launch_bounds__(kThreads) relabel_kernel(LabelsTask task) {
  const int64_t image = blockIdx.y, pixel = int64_t{blockIdx.x} * threads() + thread();
  if (pixel >= task.pixels)
    return;
  int32_t &label = task.labels[image * task.pixels + pixel];
  label = label < 0 ? 0 : task.numbers[image * task.most_modes + label];
}

} // namespace bottomup
