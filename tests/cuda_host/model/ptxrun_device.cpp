// The device that launchers ask about when their PTX is interpreted: replaces the answers of the
// interpreter's own runtime, which stands for one device only.
#include <cuda_runtime_api.h>

#include <cstdint>
#include <cstring>

namespace {
int capability = 80;
}

extern "C" cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int) {
  const int shared = capability == 75 ? 64 << 10 : capability == 80 ? 163 << 10 : 227 << 10;
  switch (attribute) {
  case cudaDevAttrComputeCapabilityMajor:
    *value = capability / 10;
    return cudaSuccess;
  case cudaDevAttrComputeCapabilityMinor:
    *value = capability % 10;
    return cudaSuccess;
  case cudaDevAttrMaxSharedMemoryPerBlock:
    *value = 48 << 10;
    return cudaSuccess;
  case cudaDevAttrMaxSharedMemoryPerBlockOptin:
    *value = shared;
    return cudaSuccess;
  case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
    *value = capability == 75 ? shared : shared + 1024;
    return cudaSuccess;
  case cudaDevAttrMultiProcessorCount:
    *value = 4;
    return cudaSuccess;
  case cudaDevAttrMaxThreadsPerMultiProcessor:
    *value = capability == 75 ? 1024 : 2048;
    return cudaSuccess;
  case cudaDevAttrMaxThreadsPerBlock:
    *value = 1024;
    return cudaSuccess;
  case cudaDevAttrWarpSize:
    *value = 32;
    return cudaSuccess;
  default:
    return cudaErrorInvalidValue;
  }
}

extern "C" bool cuda_host_set(const char *name, int64_t value) {
  if (std::strcmp(name, "capability") != 0) {
    return false;
  }
  capability = static_cast<int>(value);
  return true;
}
