// The device: what it can do, what it refuses, and what tests set and ask.
#include <array>
#include <cstring>
#include <map>

#include "model/scheduler.h"
#include "model/streams.h"

#include "model/attributes.h"

namespace {

using cuda_host::options;
using cuda_host::remember;

cudaError_t last_error = cudaSuccess;
std::string &last_report = *new std::string;
std::map<const void *, size_t> &shared_limits = *new std::map<const void *, size_t>;

bool possible(const cudaLaunchConfig_t &config) {
  const dim3 grid = config.gridDim, block = config.blockDim;
  return grid.x > 0 && grid.y > 0 && grid.z > 0 && grid.x <= 0x7fffffffu && grid.y <= 65535 &&
         grid.z <= 65535 && block.x > 0 && block.y > 0 && block.z > 0 && block.x <= 1024 &&
         block.y <= 1024 && block.z <= 64 && uint64_t{block.x} * block.y * block.z <= 1024;
}

} // namespace

cudaError_t cudaGetDeviceCount(int *count) {
  *count = 1;
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int *device) {
  *device = 0;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
  return device == 0 ? cudaSuccess : remember(cudaErrorInvalidDevice);
}

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int device) {
  if (device != 0) {
    return remember(cudaErrorInvalidDevice);
  }
  const bool known = cuda_host::attribute_of(
      static_cast<int>(options.capability), static_cast<int>(options.processors), attribute, value);
  return known ? cudaSuccess : remember(cudaErrorInvalidValue);
}

cudaError_t cudaFuncSetAttribute(const void *kernel, cudaFuncAttribute attribute, int value) {
  if (attribute == cudaFuncAttributeMaxDynamicSharedMemorySize) {
    if (value < 0 ||
        value > cuda_host::limits_of(static_cast<int>(options.capability)).shared_bytes) {
      return remember(cudaErrorInvalidValue);
    }
    shared_limits[kernel] = static_cast<size_t>(value);
  }
  return cudaSuccess;
}

cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }

cudaError_t cudaPeekAtLastError() { return last_error; }

const char *cudaGetErrorString(cudaError_t error) {
  switch (error) {
  case cudaSuccess:
    return "no error";
  case cudaErrorInvalidValue:
    return "invalid argument";
  case cudaErrorMemoryAllocation:
    return "out of memory";
  case cudaErrorInvalidConfiguration:
    return "invalid configuration argument";
  case cudaErrorInvalidDevice:
    return "invalid device ordinal";
  case cudaErrorLaunchFailure:
    return "unspecified launch failure";
  case cudaErrorStreamCaptureUnsupported:
    return "operation not permitted when stream is capturing";
  case cudaErrorStreamCaptureInvalidated:
    return "operation failed due to a previous error during capture";
  }
  return "unrecognized error code";
}

namespace cuda_host {

cudaError_t remember(cudaError_t error) {
  if (error != cudaSuccess) {
    last_error = error;
  }
  return error;
}

cudaError_t launch(const cudaLaunchConfig_t &config, const void *kernel, void (*call)(const void *),
                   std::shared_ptr<const void> launched) {
  if (!possible(config)) {
    return remember(cudaErrorInvalidConfiguration);
  }
  const auto limit = shared_limits.find(kernel);
  const size_t allowed = limit == shared_limits.end()
                             ? cuda_host::kDefaultSharedBytes
                             : std::max<size_t>(limit->second, cuda_host::kDefaultSharedBytes);
  if (config.dynamicSmemBytes > allowed) {
    return remember(cudaErrorInvalidValue);
  }
  return submit(config.stream, [=] {
    const bool done = run_kernel(config, kernel, call, launched.get());
    return remember(done ? cudaSuccess : cudaErrorLaunchFailure);
  });
}

void keep_report(const std::string &report) {
  if (last_report.empty()) {
    last_report = report;
  }
}

void require_alignment(const char *operation, const void *address, Location where) {
  if (reinterpret_cast<uintptr_t>(address) % 16 != 0) {
    fail(std::string(operation) + ": the address is not a multiple of 16", where);
  }
}

void require_capability(const char *operation, int capability, Location where) {
  if (options.capability < capability) {
    fail(std::string(operation) + " needs compute capability " + std::to_string(capability / 10) +
             "." + std::to_string(capability % 10) + ", the device has " +
             std::to_string(options.capability / 10) + "." +
             std::to_string(options.capability % 10),
         where);
  }
}

} // namespace cuda_host

/// Sets an option (see Options in scheduler.h); false if there is none of that name.
extern "C" bool cuda_host_set(const char *name, int64_t value) {
  static constexpr std::pair<const char *, int64_t cuda_host::Options::*> kOptions[] = {
      {"order", &cuda_host::Options::order},
      {"seed", &cuda_host::Options::seed},
      {"eager", &cuda_host::Options::eager},
      {"capability", &cuda_host::Options::capability},
      {"processors", &cuda_host::Options::processors},
  };
  for (const auto &[option, member] : kOptions) {
    if (std::strcmp(name, option) == 0) {
      options.*member = value;
      return true;
    }
  }
  return false;
}

/// What went wrong since cuda_host_clear, empty if nothing did.
extern "C" const char *cuda_host_report() { return last_report.c_str(); }

extern "C" void cuda_host_clear() {
  last_report.clear();
  last_error = cudaSuccess;
}
