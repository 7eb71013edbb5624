// How kernels are launched, and what a launcher returns. For .cu files only.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>

#include "common/cuda_status.h"

namespace bottomup {

/// Starts `kernel` on the stream; `name` is what an error is reported with. Kernels have dynamic
/// shared memory only.
template <typename... Parameters, typename... Arguments>
CudaStatus launch(const char *name, void (*kernel)(Parameters...), dim3 grid, dim3 block,
                  size_t shared_bytes, cudaStream_t stream, Arguments &&...arguments) {
  cudaError_t error = cudaFuncSetAttribute(reinterpret_cast<const void *>(kernel),
                                           cudaFuncAttributeMaxDynamicSharedMemorySize,
                                           static_cast<int>(shared_bytes));
  if (error == cudaSuccess) {
    cudaLaunchConfig_t config{};
    config.gridDim = grid;
    config.blockDim = block;
    config.dynamicSmemBytes = shared_bytes;
    config.stream = stream;
    error = cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);
  }
  return {static_cast<int>(error), name};
}

} // namespace bottomup
