// A row of launches that ends with the first that fails.
#pragma once

#include <cuda_runtime.h>

#include <utility>

#include "common/launch.h"

namespace bottomup {

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

/// The grid of `tiles` blocks for each image.
inline dim3 grid_of(int64_t tiles, int64_t images, int64_t parts = 1) {
  return dim3(static_cast<unsigned>(tiles), static_cast<unsigned>(images),
              static_cast<unsigned>(parts));
}

inline int device_attribute(cudaDeviceAttr attribute) {
  int device = 0, value = 0;
  if (cudaGetDevice(&device) == cudaSuccess)
    cudaDeviceGetAttribute(&value, attribute, device);
  return value;
}

} // namespace bottomup
