// How kernels are launched, and what a launcher returns. For .cu files only.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <utility>

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

/// Launches one after another on a stream, until one fails. Empty grids are left out.
class Launcher {
public:
  explicit Launcher(CudaStream stream) : stream_(stream) {}

  template <typename Kernel, typename... Arguments>
  void operator()(const char *name, Kernel *kernel, dim3 grid, int threads, size_t shared_bytes,
                  Arguments &&...arguments) {
    const bool empty = grid.x == 0 || grid.y == 0 || grid.z == 0;
    if (status_.ok() && !empty)
      status_ = launch(name, kernel, grid, dim3(static_cast<unsigned>(threads)), shared_bytes,
                       stream_, std::forward<Arguments>(arguments)...);
  }

  template <typename T> void clear(T *array, int64_t count) {
    if (status_.ok() && count > 0)
      status_ = {static_cast<int>(
                     cudaMemsetAsync(array, 0, static_cast<size_t>(count) * sizeof(T), stream_)),
                 "clear"};
  }

  template <typename T> void copy(T *target, const T *source, int64_t count) {
    if (status_.ok() && count > 0)
      status_ = {
          static_cast<int>(cudaMemcpyAsync(target, source, static_cast<size_t>(count) * sizeof(T),
                                           cudaMemcpyDeviceToDevice, stream_)),
          "copy"};
  }

  CudaStatus status() const { return status_; }

private:
  CudaStream stream_;
  CudaStatus status_;
};

inline dim3 grid_of(int64_t x, int64_t y = 1, int64_t z = 1) {
  return dim3(static_cast<unsigned>(x), static_cast<unsigned>(y), static_cast<unsigned>(z));
}

/// Of the current device.
inline int device_attribute(cudaDeviceAttr attribute) {
  int device = 0, value = 0;
  if (cudaGetDevice(&device) == cudaSuccess)
    cudaDeviceGetAttribute(&value, attribute, device);
  return value;
}

} // namespace bottomup
