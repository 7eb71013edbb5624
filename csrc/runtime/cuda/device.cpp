#include "runtime/cuda/device.h"

#include <stdexcept>

#include "bottomup/types.h"

namespace bottomup {

void check_cuda(cudaError_t error, const std::string &action) {
  if (error != cudaSuccess)
    throw std::runtime_error("CUDA: " + action + " failed: " + cudaGetErrorString(error));
}

void check_cuda(const CudaStatus &status) {
  if (!status.ok())
    check_cuda(static_cast<cudaError_t>(status.error),
               "the kernel " + std::string(status.kernel ? status.kernel : ""));
}

int current_gpu() {
  int count = 0, device = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess || count == 0)
    throw Error(std::string("no usable NVIDIA GPU: ") +
                (error != cudaSuccess ? cudaGetErrorString(error) : "none is visible"));
  check_cuda(cudaGetDevice(&device), "finding the current device");
  return device;
}

DeviceScope::DeviceScope(int device) {
  check_cuda(cudaGetDevice(&before_), "finding the current device");
  check_cuda(cudaSetDevice(device), "choosing the device " + std::to_string(device));
}

DeviceScope::~DeviceScope() { cudaSetDevice(before_); }

template <bool pinned> Memory<pinned>::Memory(int64_t bytes) : bytes_(bytes) {
  const auto size = static_cast<size_t>(bytes);
  const cudaError_t error = pinned ? cudaMallocHost(&data_, size) : cudaMalloc(&data_, size);
  check_cuda(error, "taking " + std::to_string(bytes) + " bytes of " +
                        (pinned ? "pinned memory" : "the GPU's memory"));
}

template <bool pinned> Memory<pinned>::~Memory() {
  if (pinned)
    cudaFreeHost(data_);
  else
    cudaFree(data_);
}

template class Memory<false>;
template class Memory<true>;

Stream::Stream() {
  check_cuda(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "making a stream");
}

Stream::~Stream() { cudaStreamDestroy(stream_); }

void Stream::wait() const { check_cuda(cudaStreamSynchronize(stream_), "running"); }

} // namespace bottomup
