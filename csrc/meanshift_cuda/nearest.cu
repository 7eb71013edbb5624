#include "meanshift_cuda/nearest.h"

#include "meanshift_cuda/for_packed.h"
#include "meanshift_cuda/nearest.cuh"
#include "meanshift_cuda/nearest_float16.cuh"

namespace bottomup {

namespace {

void find_nearest_float16(Launcher &run, const NearestTask &task) {
  for_packed(Float16{}, task.features.dimensions, [&](auto channels) {
    using Sizes = NearestFloat16<decltype(channels)::value>;
    run("nearest_float16", nearest_float16_kernel<decltype(channels)::value>,
        grid_of(tiles_of(task.features.pixels, Sizes::pixels), task.features.batch), kThreads,
        sizeof(Float16) * Sizes::rows * Sizes::stride, task);
  });
}

} // namespace

void find_nearest(Launcher &run, const NearestTask &task) {
  if (task.float16)
    return find_nearest_float16(run, task);
  with_type(task.features.type, [&]<typename T>(T) {
    // Without pixels there are still modes to check.
    const int64_t tiles = tiles_of(task.features.pixels, kChunkPixels);
    run("nearest", nearest_kernel<T>, grid_of(tiles > 0 ? tiles : 1, task.features.batch), kThreads,
        sizeof(NearestShared), task, layout_of(task.features, sizeof(T)));
  });
}

} // namespace bottomup
