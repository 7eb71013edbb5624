// The device that launchers ask about when their PTX is interpreted: replaces the answers of the
// interpreter's own runtime, which stands for one device only.
#include <cuda_runtime_api.h>

#include <cstdint>
#include <cstring>

#include "attributes.h"

namespace {
int capability = 80;
}

extern "C" cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int) {
  const bool known = cuda_host::attribute_of(capability, 4, attribute, value);
  return known ? cudaSuccess : cudaErrorInvalidValue;
}

extern "C" bool cuda_host_set(const char *name, int64_t value) {
  if (std::strcmp(name, "capability") != 0) {
    return false;
  }
  capability = static_cast<int>(value);
  return true;
}
