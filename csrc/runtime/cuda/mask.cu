#include "runtime/cuda/mask.h"

#include "common/launch.h"

namespace bottomup {
namespace {

constexpr int kThreads = 256;

__global__ void mask_kernel(MaskTask task) {
  const int64_t pixel = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (pixel >= task.rows * task.columns)
    return;
  const bool inside = pixel / task.columns < task.height && pixel % task.columns < task.width;
  task.mask[pixel] = inside && (task.logits == nullptr || task.logits[pixel] >= task.threshold);
}

} // namespace

CudaStatus make_mask(const MaskTask &task, CudaStream stream) {
  Launcher run(stream);
  const int64_t blocks = (task.rows * task.columns + kThreads - 1) / kThreads;
  run("mask", mask_kernel, grid_of(blocks), kThreads, 0, task);
  return run.status();
}

} // namespace bottomup
