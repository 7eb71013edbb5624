#include "meanshift_cuda/window_pass.h"

#include "meanshift_cuda/for_packed.h"
#include "meanshift_cuda/move_lines.cuh"
#include "meanshift_cuda/window_float16.cuh"
#include "meanshift_cuda/window_float32.cuh"

namespace bottomup {
namespace {

template <Pass pass, int dimensions>
void start(Launcher &run, dim3 grid, const WindowPass<Float16> &task) {
  run("window_float16", window_float16_kernel<pass, dimensions>, grid, kThreads,
      sizeof(typename Float16Pass<dimensions>::Shared), task);
}

template <Pass pass, int width>
void start(Launcher &run, dim3 grid, const WindowPass<float> &task) {
  grid.z = pass == Pass::step ? static_cast<unsigned>(task.padded / width) : 1;
  run("window_float32", window_float32_kernel<pass, width>, grid, kThreads,
      sizeof(typename Float32Pass<width>::Shared), task);
}

template <int dimensions> constexpr PassTiling tiling_of_channels(Float16) {
  return Float16Pass<dimensions>::tiling();
}

template <int width> constexpr PassTiling tiling_of_channels(float) {
  return Float32Pass<width>::tiling();
}

} // namespace

template <typename Packed> PassTiling tiling_of(int64_t padded) {
  return for_packed(Packed{}, padded, [](auto channels) {
    return tiling_of_channels<decltype(channels)::value>(Packed{});
  });
}

template <Pass pass, typename Packed>
void look_through_windows(Launcher &run, int64_t images, const WindowPass<Packed> &task) {
  const dim3 grid =
      grid_of(blocks_of<Packed>(task.padded, task.num_lines, task.fixed_parts), images);
  for_packed(Packed{}, task.padded,
             [&](auto channels) { start<pass, decltype(channels)::value>(run, grid, task); });
}

template <typename Packed>
void move_lines(Launcher &run, int64_t images, const WindowPass<Packed> &task, double tolerance,
                int32_t *rests) {
  run("move_lines", move_lines_kernel<Packed>, grid_of(task.num_lines, images), kThreads,
      sizeof(MoveShared) + sizeof(float) * static_cast<size_t>(task.padded), task,
      tiling_of<Packed>(task.padded),
      blocks_of<Packed>(task.padded, task.num_lines, task.fixed_parts), tolerance, rests);
}

#define BOTTOMUP_WINDOW_PASSES(Packed)                                                             \
  template PassTiling tiling_of<Packed>(int64_t);                                                  \
  template void look_through_windows<Pass::step>(Launcher &, int64_t, const WindowPass<Packed> &); \
  template void look_through_windows<Pass::count>(Launcher &, int64_t,                             \
                                                  const WindowPass<Packed> &);                     \
  template void look_through_windows<Pass::best>(Launcher &, int64_t, const WindowPass<Packed> &); \
  template void move_lines(Launcher &, int64_t, const WindowPass<Packed> &, double, int32_t *);
BOTTOMUP_WINDOW_PASSES(float)
BOTTOMUP_WINDOW_PASSES(Float16)
#undef BOTTOMUP_WINDOW_PASSES

} // namespace bottomup
