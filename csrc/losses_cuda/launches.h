// What launchers share: a row of launches, and from the type of features to kernels compiled for
// it. For .cu files only.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <utility>

#include "common/data_type.h"
#include "common/launch.h"

namespace bottomup {

/// Launches one after another on a stream, until one fails. Empty grids are left out.
class Launches {
public:
  explicit Launches(CudaStream stream) : stream_(stream) {}

  template <typename Kernel, typename... Arguments>
  void operator()(const char *name, Kernel *kernel, dim3 grid, int threads, int64_t shared_bytes,
                  Arguments &&...arguments) {
    if (status_.ok() && grid.x > 0 && grid.y > 0 && grid.z > 0)
      status_ =
          launch(name, kernel, grid, dim3(static_cast<unsigned>(threads)),
                 static_cast<size_t>(shared_bytes), stream_, std::forward<Arguments>(arguments)...);
  }

  template <typename T> void clear(T *array, int64_t count) {
    if (status_.ok() && count > 0)
      status_ = {static_cast<int>(
                     cudaMemsetAsync(array, 0, static_cast<size_t>(count) * sizeof(T), stream_)),
                 "clear"};
  }

  CudaStatus status() const { return status_; }

private:
  CudaStream stream_;
  CudaStatus status_;
};

/// What a block may ask for on the current device.
inline int64_t most_shared_bytes() {
  int device = 0, bytes = 0;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
  return bytes;
}

inline dim3 grid_of(int64_t x, int64_t y = 1, int64_t z = 1) {
  return dim3(static_cast<unsigned>(x), static_cast<unsigned>(y), static_cast<unsigned>(z));
}

/// work(T{}) with T the type.
template <typename Work> void with_type(DataType type, const Work &work) {
  switch (type) {
  case DataType::float32:
    return work(float{});
  case DataType::float64:
    return work(double{});
  case DataType::float16:
    return work(Float16{});
  case DataType::bfloat16:
    return work(BFloat16{});
  }
}

} // namespace bottomup
