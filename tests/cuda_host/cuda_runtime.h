// CUDA as kernels and launchers see it, for a plain C++ compiler: each CUDA thread runs as a fiber.
//
// Shadows the toolkit's header of this name. It has what the kernels may use and no more, so that
// anything else is a compile error; what happens behind it is in model/.
#pragma once

#include <bit>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <tuple>
#include <utility>

#include "model/model.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(bytes) alignas(bytes)

// Vectors, aligned as on the device: a misaligned access is then undefined behaviour here too.

struct alignas(8) int2 {
  int x, y;
};
struct int3 {
  int x, y, z;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct uint3 {
  unsigned x, y, z;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(8) float2 {
  float x, y;
};
struct float3 {
  float x, y, z;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(16) double2 {
  double x, y;
};
struct alignas(16) longlong2 {
  long long x, y;
};

constexpr int2 make_int2(int x, int y) { return {x, y}; }
constexpr int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
constexpr uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
constexpr uint3 make_uint3(unsigned x, unsigned y, unsigned z) { return {x, y, z}; }
constexpr uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
constexpr float2 make_float2(float x, float y) { return {x, y}; }
constexpr float3 make_float3(float x, float y, float z) { return {x, y, z}; }
constexpr float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
constexpr double2 make_double2(double x, double y) { return {x, y}; }

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

// The scheduler writes these whenever it resumes a thread or starts a block.
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
inline constexpr int warpSize = 32;

// Barriers, shuffles and votes. As in CUDA, only barriers and __syncwarp order memory.

using cuda_host::Location;

inline void __syncthreads(Location where = Location::current()) { cuda_host::block_barrier(where); }

inline void __syncwarp(unsigned mask = 0xffffffffu, Location where = Location::current()) {
  cuda_host::warp_barrier(mask, where);
}

template <typename T>
concept Shuffled = std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8);

#define CUDA_HOST_SHUFFLE(name, parameter, how)                                                    \
  template <Shuffled T>                                                                            \
  T name(unsigned mask, T value, parameter, int width = warpSize,                                  \
         Location where = Location::current()) {                                                   \
    using Bits = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;                           \
    const uint64_t bits = std::bit_cast<Bits>(value);                                              \
    return std::bit_cast<T>(static_cast<Bits>(                                                     \
        cuda_host::shuffle(cuda_host::Shuffle::how, mask, bits, argument, width, where)));         \
  }
CUDA_HOST_SHUFFLE(__shfl_sync, int argument, from)
CUDA_HOST_SHUFFLE(__shfl_up_sync, unsigned argument, up)
CUDA_HOST_SHUFFLE(__shfl_down_sync, unsigned argument, down)
CUDA_HOST_SHUFFLE(__shfl_xor_sync, int argument, exclusive_or)
#undef CUDA_HOST_SHUFFLE

inline unsigned __ballot_sync(unsigned mask, int predicate, Location where = Location::current()) {
  return cuda_host::ballot("__ballot_sync", mask, predicate != 0, where);
}
inline int __any_sync(unsigned mask, int predicate, Location where = Location::current()) {
  return cuda_host::ballot("__any_sync", mask, predicate != 0, where) != 0;
}
inline int __all_sync(unsigned mask, int predicate, Location where = Location::current()) {
  return cuda_host::ballot("__all_sync", mask, predicate == 0, where) == 0;
}
template <Shuffled T>
unsigned __match_any_sync(unsigned mask, T value, Location where = Location::current()) {
  using Bits = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
  return cuda_host::match_any(mask, std::bit_cast<Bits>(value), where);
}
inline unsigned __activemask() { return cuda_host::active_lanes(); }

#define CUDA_HOST_REDUCE(name, T, how)                                                             \
  inline T name(unsigned mask, T value, Location where = Location::current()) {                    \
    return static_cast<T>(cuda_host::reduce(#name, cuda_host::Reduce::how, mask,                   \
                                            static_cast<int64_t>(value), where));                  \
  }
CUDA_HOST_REDUCE(__reduce_add_sync, int, add)
CUDA_HOST_REDUCE(__reduce_add_sync, unsigned, add)
CUDA_HOST_REDUCE(__reduce_min_sync, int, min)
CUDA_HOST_REDUCE(__reduce_min_sync, unsigned, min)
CUDA_HOST_REDUCE(__reduce_max_sync, int, max)
CUDA_HOST_REDUCE(__reduce_max_sync, unsigned, max)
CUDA_HOST_REDUCE(__reduce_and_sync, unsigned, bit_and)
CUDA_HOST_REDUCE(__reduce_or_sync, unsigned, bit_or)
CUDA_HOST_REDUCE(__reduce_xor_sync, unsigned, bit_xor)
#undef CUDA_HOST_REDUCE

// Integer atomics: atomic with each other, without any order for other memory.

template <typename T>
concept Atomic =
    std::same_as<T, int> || std::same_as<T, unsigned> || std::same_as<T, unsigned long long>;

namespace cuda_host {
template <typename T, typename Change> T atomic_change(T *address, Change change) {
  T old = __atomic_load_n(address, __ATOMIC_RELAXED);
  while (!__atomic_compare_exchange_n(address, &old, change(old), true, __ATOMIC_RELAXED,
                                      __ATOMIC_RELAXED)) {
  }
  return old;
}
} // namespace cuda_host

template <Atomic T> T atomicAdd(T *address, std::type_identity_t<T> value) {
  return __atomic_fetch_add(address, value, __ATOMIC_RELAXED);
}
template <Atomic T> T atomicSub(T *address, std::type_identity_t<T> value) {
  return __atomic_fetch_sub(address, value, __ATOMIC_RELAXED);
}
template <Atomic T> T atomicOr(T *address, std::type_identity_t<T> value) {
  return __atomic_fetch_or(address, value, __ATOMIC_RELAXED);
}
template <Atomic T> T atomicAnd(T *address, std::type_identity_t<T> value) {
  return __atomic_fetch_and(address, value, __ATOMIC_RELAXED);
}
template <Atomic T> T atomicXor(T *address, std::type_identity_t<T> value) {
  return __atomic_fetch_xor(address, value, __ATOMIC_RELAXED);
}
template <Atomic T> T atomicExch(T *address, std::type_identity_t<T> value) {
  return __atomic_exchange_n(address, value, __ATOMIC_RELAXED);
}
template <Atomic T> T atomicMin(T *address, std::type_identity_t<T> value) {
  return cuda_host::atomic_change(address, [=](T old) { return value < old ? value : old; });
}
template <Atomic T> T atomicMax(T *address, std::type_identity_t<T> value) {
  return cuda_host::atomic_change(address, [=](T old) { return value > old ? value : old; });
}
template <Atomic T>
T atomicCAS(T *address, std::type_identity_t<T> compare, std::type_identity_t<T> value) {
  __atomic_compare_exchange_n(address, &compare, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
  return compare;
}

// Orders this thread's memory with all threads that pass a fence after it.
inline void __threadfence() { cuda_host::fence(); }
inline void __threadfence_block() { cuda_host::fence(); }

template <typename T> T __ldg(const T *address) { return *address; }

// Arithmetic that C++ has under another name or not at all.

inline int __popc(unsigned value) { return std::popcount(value); }
inline int __popcll(unsigned long long value) { return std::popcount(value); }
inline int __clz(int value) { return std::countl_zero(static_cast<unsigned>(value)); }
inline int __clzll(long long value) {
  return std::countl_zero(static_cast<unsigned long long>(value));
}
inline int __ffs(int value) { return __builtin_ffs(value); }
inline int __ffsll(long long value) { return __builtin_ffsll(value); }
inline unsigned __float_as_uint(float value) { return std::bit_cast<unsigned>(value); }
inline float __uint_as_float(unsigned value) { return std::bit_cast<float>(value); }
inline int __float_as_int(float value) { return std::bit_cast<int>(value); }
inline float __int_as_float(int value) { return std::bit_cast<float>(value); }
inline float rsqrtf(float value) { return 1.0f / std::sqrt(value); }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }

#define CUDA_HOST_MIN_MAX(T)                                                                       \
  constexpr T min(T a, T b) { return b < a ? b : a; }                                              \
  constexpr T max(T a, T b) { return a < b ? b : a; }
CUDA_HOST_MIN_MAX(int)
CUDA_HOST_MIN_MAX(unsigned)
CUDA_HOST_MIN_MAX(long)
CUDA_HOST_MIN_MAX(unsigned long)
CUDA_HOST_MIN_MAX(long long)
CUDA_HOST_MIN_MAX(unsigned long long)
#undef CUDA_HOST_MIN_MAX

// The runtime.

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorInvalidDevice = 101,
  cudaErrorLaunchFailure = 719,
  cudaErrorStreamCaptureUnsupported = 900,
  cudaErrorStreamCaptureInvalidated = 901
};
enum cudaFuncAttribute {
  cudaFuncAttributeMaxDynamicSharedMemorySize = 8,
  cudaFuncAttributePreferredSharedMemoryCarveout = 9
};
enum cudaDeviceAttr {
  cudaDevAttrMaxThreadsPerBlock = 1,
  cudaDevAttrMaxSharedMemoryPerBlock = 8,
  cudaDevAttrWarpSize = 10,
  cudaDevAttrMultiProcessorCount = 16,
  cudaDevAttrMaxThreadsPerMultiProcessor = 39,
  cudaDevAttrComputeCapabilityMajor = 75,
  cudaDevAttrComputeCapabilityMinor = 76,
  cudaDevAttrMaxSharedMemoryPerMultiprocessor = 81,
  cudaDevAttrMaxSharedMemoryPerBlockOptin = 97
};
enum cudaMemcpyKind { cudaMemcpyDeviceToDevice = 3, cudaMemcpyDefault = 4 };
enum cudaStreamCaptureMode { cudaStreamCaptureModeThreadLocal = 1 };
inline constexpr unsigned cudaStreamNonBlocking = 1;

struct CUstream_st;
using cudaStream_t = CUstream_st *;
struct CUgraph_st;
using cudaGraph_t = CUgraph_st *;
struct CUgraphExec_st;
using cudaGraphExec_t = CUgraphExec_st *;

struct cudaLaunchAttribute;
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes;
  cudaStream_t stream;
  cudaLaunchAttribute *attrs;
  unsigned numAttrs;
};

cudaError_t cudaGetDeviceCount(int *count);
cudaError_t cudaGetDevice(int *device);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int device);
cudaError_t cudaFuncSetAttribute(const void *kernel, cudaFuncAttribute attribute, int value);
cudaError_t cudaMemsetAsync(void *target, int value, size_t bytes, cudaStream_t stream = nullptr);
cudaError_t cudaMemcpyAsync(void *target, const void *source, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream = nullptr);
cudaError_t cudaMalloc(void **memory, size_t bytes);
cudaError_t cudaFree(void *memory);
cudaError_t cudaMallocHost(void **memory, size_t bytes);
cudaError_t cudaFreeHost(void *memory);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *executable, cudaGraph_t graph,
                                 unsigned long long flags = 0);
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable);
cudaError_t cudaGetLastError();
cudaError_t cudaPeekAtLastError();
const char *cudaGetErrorString(cudaError_t error);

namespace cuda_host {
cudaError_t launch(const cudaLaunchConfig_t &config, const void *kernel, void (*call)(const void *),
                   std::shared_ptr<const void> launched);
} // namespace cuda_host

template <typename... Parameters, typename... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t *config, void (*kernel)(Parameters...),
                               Arguments &&...arguments) {
  const auto launched = [=, values =
                                std::tuple<Parameters...>(std::forward<Arguments>(arguments)...)] {
    std::apply(kernel, values);
  };
  return cuda_host::launch(
      *config, reinterpret_cast<const void *>(kernel),
      [](const void *launched_kernel) { (*static_cast<decltype(launched) *>(launched_kernel))(); },
      std::make_shared<std::remove_const_t<decltype(launched)>>(launched));
}
