// The device: its errors, memory and streams.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <string>
#include <utility>

#include "common/cuda_status.h"

namespace bottomup {

/// Throws std::runtime_error, naming what was being done.
void check_cuda(cudaError_t error, const std::string &action);
void check_cuda(const CudaStatus &status);

/// The current device. Throws Error where there is no usable GPU.
int current_gpu();

/// Makes a device current for a scope.
class DeviceScope {
public:
  explicit DeviceScope(int device);
  ~DeviceScope();
  DeviceScope(const DeviceScope &) = delete;
  DeviceScope &operator=(const DeviceScope &) = delete;

private:
  int before_ = 0;
};

/// Memory on the device, or, pinned, of the host; aligned as arrays of any type.
template <bool pinned> class Memory {
public:
  Memory() = default;
  explicit Memory(int64_t bytes);
  ~Memory();
  Memory(Memory &&other) noexcept { *this = std::move(other); }
  Memory &operator=(Memory &&other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }

  void *data() const { return data_; }
  int64_t bytes() const { return bytes_; }

private:
  void *data_ = nullptr;
  int64_t bytes_ = 0;
};
using DeviceMemory = Memory<false>;
using PinnedMemory = Memory<true>;

/// A stream that does not wait for the default one.
class Stream {
public:
  Stream();
  ~Stream();
  Stream(const Stream &) = delete;
  Stream &operator=(const Stream &) = delete;

  operator CudaStream() const { return stream_; }
  void wait() const;

private:
  cudaStream_t stream_ = nullptr;
};

/// Enqueues a copy of an array, from or to the device as the pointers tell.
template <typename T>
void enqueue_copy(T *target, const T *source, int64_t count, CudaStream stream) {
  check_cuda(cudaMemcpyAsync(target, source, static_cast<size_t>(count) * sizeof(T),
                             cudaMemcpyDefault, stream),
             "copying");
}

} // namespace bottomup
