// The instructions of NVIDIA GPUs that C++ has no words for, one wrapper each (PTX ISA 8).
//
// The only file with inline PTX: what runs kernels without a GPU replaces this header.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace bottomup {

inline constexpr int kWarp = 32;
inline constexpr unsigned kAllLanes = 0xffffffffu;

/// The block's dynamic shared memory, aligned to 128 bytes.
template <typename T> __device__ __forceinline__ T *shared_memory() {
  extern __shared__ __align__(128) unsigned char shared_bytes[];
  return reinterpret_cast<T *>(shared_bytes);
}

__device__ __forceinline__ uint32_t shared_address(const void *pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

/// sum += a b for a tile of 16 x 16 times 16 x 8 (mma.m16n8k16, row.col): compute capability 8.0.
__device__ __forceinline__ void multiply_float16(float (&sum)[4], const uint32_t (&a)[4],
                                                 const uint32_t (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
               "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
               : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ __forceinline__ void multiply_bfloat16(float (&sum)[4], const uint32_t (&a)[4],
                                                  const uint32_t (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
               "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
               : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// Four 8 x 8 matrices of 16-bit numbers, their 8 rows of 16 bytes at the addresses of lanes 0-7,
/// 8-15, 16-23 and 24-31 (ldmatrix.x4).
__device__ __forceinline__ void load_matrices(uint32_t (&result)[4], const void *row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"
               : "=r"(result[0]), "=r"(result[1]), "=r"(result[2]), "=r"(result[3])
               : "r"(shared_address(row))
               : "memory");
}

/// The same, each matrix transposed.
__device__ __forceinline__ void load_matrices_transposed(uint32_t (&result)[4], const void *row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\n"
               : "=r"(result[0]), "=r"(result[1]), "=r"(result[2]), "=r"(result[3])
               : "r"(shared_address(row))
               : "memory");
}

/// Starts copying 16 aligned bytes to shared memory, the last 16 - `bytes` of them zeros
/// (cp.async.cg): compute capability 8.0.
__device__ __forceinline__ void copy_async(void *shared, const void *global, int bytes = 16) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(shared_address(shared)),
               "l"(global), "r"(bytes)
               : "memory");
}

/// Closes a group of copies.
__device__ __forceinline__ void commit_copies() {
  asm volatile("cp.async.commit_group;\n" ::: "memory");
}

/// Waits until all but the last `pending` groups of this thread have arrived.
template <int pending> __device__ __forceinline__ void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;\n" ::"n"(pending) : "memory");
}

/// A barrier of the first `threads` threads that name it; 0 is that of __syncthreads().
__device__ __forceinline__ void named_barrier(int barrier, int threads) {
  asm volatile("bar.sync %0, %1;\n" ::"r"(barrier), "r"(threads) : "memory");
}

/// Two numbers rounded to float16, `low` in the lower half.
__device__ __forceinline__ uint32_t pack_float16(float low, float high) {
  uint32_t result;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;\n" : "=r"(result) : "f"(high), "f"(low));
  return result;
}

__device__ __forceinline__ uint32_t pack_bfloat16(float low, float high) {
  uint32_t result;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;\n" : "=r"(result) : "f"(high), "f"(low));
  return result;
}

__device__ __forceinline__ float float_of_float16(uint16_t bits) {
  float result;
  asm("cvt.f32.f16 %0, %1;\n" : "=f"(result) : "h"(bits));
  return result;
}

/// threadIdx.x, read anew each time: what is computed from it is then computed anew, too, instead
/// of being kept in registers from its first use to its last.
__device__ __forceinline__ int thread_index_anew() {
  int result;
  asm volatile("mov.u32 %0, %%tid.x;\n" : "=r"(result));
  return result;
}

} // namespace bottomup
