// Runs an op's kernels where its tensors are.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "common/cuda_status.h"
#include "common/parallel.h"
#include "common/simd.h"
#include "common/status.h"
#include "torch/tensors.h"

namespace bottomup {

/// The implementations of one contract; without CUDA in the build the last two are null.
template <typename Problem> struct Kernels {
  Status (*cpu)(const Problem &, Simd, const ParallelFor &);
  int64_t (*cuda_workspace)(const Problem &);
  CudaStatus (*cuda)(const Problem &, void *workspace, int32_t *input_status, CudaStream);
};

#if BOTTOMUP_CUDA
#define BOTTOMUP_KERNELS(op) {op##_cpu, op##_cuda_workspace, op##_cuda}
#else
#define BOTTOMUP_KERNELS(op) {op##_cpu, nullptr, nullptr}
#endif

using CudaLaunch = std::function<CudaStatus(void *workspace, int32_t *input_status, CudaStream)>;

/// Launches on the tensor's device and torch's current stream, with a workspace from torch's
/// allocator. Then waits and throws if the input was bad, unless the stream is being captured.
void run_on_cuda(const Tensor &tensor, const char *op, int64_t workspace_bytes,
                 const CudaLaunch &launch);

/// Computes `problem`, whose tensors are where `tensor` is; throws on bad input.
template <typename Problem>
void run(const Kernels<Problem> &kernels, const Problem &problem, const Tensor &tensor,
         const char *op) {
  if constexpr (BOTTOMUP_CUDA != 0) {
    if (tensor.is_cuda()) {
      run_on_cuda(tensor, op, kernels.cuda_workspace(problem),
                  [&](void *workspace, int32_t *input_status, CudaStream stream) {
                    return kernels.cuda(problem, workspace, input_status, stream);
                  });
      return;
    }
  }
  const Status status = kernels.cpu(problem, selected_simd(), torch_parallel_for);
  check(status == Status::ok, op, message(status));
}

} // namespace bottomup
