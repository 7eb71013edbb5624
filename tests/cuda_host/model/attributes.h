// What the devices that tests play answer about themselves; included behind CUDA's names.
#pragma once

namespace cuda_host {

inline constexpr int kDefaultSharedBytes = 48 << 10;

struct Limits {
  int shared_bytes; // of a block
  int threads;      // of a multiprocessor
};

// CUDA C++ Programming Guide, technical specifications per compute capability.
inline Limits limits_of(int capability) {
  switch (capability) {
  case 75:
    return {64 << 10, 1024};
  case 80:
    return {163 << 10, 2048};
  case 87:
    return {163 << 10, 1536};
  case 86:
  case 89:
  case 120:
    return {99 << 10, 1536};
  case 110:
    return {227 << 10, 1536};
  default:
    return {227 << 10, 2048};
  }
}

/// Sets the value of an attribute; false if it is not known.
inline bool attribute_of(int capability, int processors, cudaDeviceAttr attribute, int *value) {
  switch (attribute) {
  case cudaDevAttrMaxThreadsPerBlock:
    *value = 1024;
    return true;
  case cudaDevAttrMaxThreadsPerMultiProcessor:
    *value = limits_of(capability).threads;
    return true;
  case cudaDevAttrWarpSize:
    *value = 32;
    return true;
  case cudaDevAttrMultiProcessorCount:
    *value = processors;
    return true;
  case cudaDevAttrComputeCapabilityMajor:
    *value = capability / 10;
    return true;
  case cudaDevAttrComputeCapabilityMinor:
    *value = capability % 10;
    return true;
  case cudaDevAttrMaxSharedMemoryPerBlock:
    *value = kDefaultSharedBytes;
    return true;
  case cudaDevAttrMaxSharedMemoryPerBlockOptin:
    *value = limits_of(capability).shared_bytes;
    return true;
  case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
    *value = limits_of(capability).shared_bytes + (capability == 75 ? 0 : 1024);
    return true;
  default:
    return false;
  }
}

} // namespace cuda_host
