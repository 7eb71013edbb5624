// Kernels with one bug each, all of which the execution model must find.
#include <cstdint>

#include "common/launch.h"
#include "common/ptx.h"

namespace bottomup {
namespace {

__global__ void missing_barrier(float *result) {
  float *shared = shared_memory<float>();
  shared[threadIdx.x] = static_cast<float>(threadIdx.x); // the write
  result[threadIdx.x] = shared[threadIdx.x ^ 1];         // the read
}

// The second round writes while others still read the first.
__global__ void missing_barrier_of_a_loop(float *result) {
  float *shared = shared_memory<float>();
  float sum = 0.0f;
  for (int round = 0; round < 2; ++round) {
    shared[threadIdx.x] = static_cast<float>(threadIdx.x); // the write
    __syncthreads();
    sum += shared[threadIdx.x ^ 32]; // the read
  }
  result[threadIdx.x] = sum;
}

__global__ void missing_warp_barrier(float *result) {
  float *shared = shared_memory<float>();
  shared[threadIdx.x] = 1.0f;                              // the write
  const float other = __shfl_xor_sync(kAllLanes, 1.0f, 1); // orders no memory
  result[threadIdx.x] = other + shared[threadIdx.x ^ 1];   // the read
}

__global__ void racing_blocks(float *result) {
  result[threadIdx.x] = static_cast<float>(blockIdx.x); // the write
}

__global__ void racing_atomic(int *result) {
  atomicAdd(result, 1); // the write
  if (threadIdx.x == 7) {
    result[1] = result[0]; // the read
  }
}

__global__ void missing_wait(const float *values, float *result) {
  float *shared = shared_memory<float>();
  copy_async(shared + 4 * threadIdx.x, values + 4 * threadIdx.x);
  commit_copies();
  __syncthreads();
  result[threadIdx.x] = shared[threadIdx.x];
  __syncthreads();
  wait_for_copies<0>();
}

// Waits for the first of two copies, and reads the second.
__global__ void short_wait(const float *values, float *result) {
  float *shared = shared_memory<float>();
  for (int half = 0; half < 2; ++half) {
    copy_async(shared + half * 128 + 4 * threadIdx.x, values + half * 128 + 4 * threadIdx.x);
    commit_copies();
  }
  wait_for_copies<1>();
  __syncthreads();
  result[threadIdx.x] = shared[128 + threadIdx.x];
  __syncthreads();
  wait_for_copies<0>();
}

// The copy for the next round starts before all have read this one.
__global__ void overwritten_stage(const float *values, float *result) {
  float *shared = shared_memory<float>();
  copy_async(shared + 4 * threadIdx.x, values + 4 * threadIdx.x);
  commit_copies();
  wait_for_copies<0>();
  __syncthreads();
  const float first = shared[4 * (threadIdx.x ^ 1)]; // the read
  copy_async(shared + 4 * threadIdx.x, values + 128 + 4 * threadIdx.x);
  commit_copies();
  wait_for_copies<0>();
  __syncthreads();
  result[threadIdx.x] = first + shared[4 * (threadIdx.x ^ 1)];
}

__global__ void copy_left_alone(const float *values) {
  copy_async(shared_memory<float>() + 4 * threadIdx.x, values + 4 * threadIdx.x);
  commit_copies();
}

__global__ void early_exit() {
  if (threadIdx.x >= 40) {
    return;
  }
  __syncthreads();
}

__global__ void two_barriers() {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}

__global__ void caller_outside_mask(int *result) {
  result[threadIdx.x] = __shfl_sync(0x0000ffffu, static_cast<int>(threadIdx.x), 0);
}

__global__ void absent_lane(int *result) {
  if (threadIdx.x < 31) {
    result[threadIdx.x] = __shfl_xor_sync(kAllLanes, static_cast<int>(threadIdx.x), 1);
  }
}

__global__ void different_operations(int *result) {
  if (threadIdx.x < 16) {
    result[threadIdx.x] = __any_sync(kAllLanes, 1);
  } else {
    __syncwarp();
  }
}

__global__ void value_of_an_absent_lane(float *result) {
  if (threadIdx.x < 16) {
    result[threadIdx.x] = __shfl_xor_sync(0x0000ffffu, 1.0f, 16);
  }
}

__global__ void named_barrier_waits_for_too_many() {
  if (threadIdx.x < 64) {
    named_barrier(3, 96);
  }
}

__global__ void named_barrier_counts_differ() { named_barrier(1, threadIdx.x < 32 ? 64 : 96); }

__global__ void shared_write_past_end() {
  float *shared = shared_memory<float>();
  shared[threadIdx.x + 1] = 1.0f;
}

__global__ void shared_read_past_end(float *result) {
  float *shared = shared_memory<float>();
  shared[threadIdx.x] = 1.0f;
  __syncthreads();
  result[threadIdx.x] = shared[threadIdx.x + 1];
}

__global__ void unwritten_shared(float *result) {
  float *shared = shared_memory<float>();
  if (threadIdx.x < 31) {
    shared[threadIdx.x] = 1.0f;
  }
  __syncthreads();
  result[threadIdx.x] = shared[threadIdx.x ^ 31];
}

__global__ void misaligned_matrix(uint32_t *result) {
  uint16_t *shared = shared_memory<uint16_t>();
  for (int i = 0; i < 10; ++i) {
    shared[10 * threadIdx.x + static_cast<unsigned>(i)] = 0;
  }
  __syncwarp();
  uint32_t matrices[4];
  load_matrices(matrices, shared + 10 * threadIdx.x);
  result[threadIdx.x] = matrices[0];
}

__global__ void misaligned_copy(const float *values) {
  copy_async(shared_memory<float>() + 4 * threadIdx.x, values + 4 * threadIdx.x + 2);
}

__global__ void misaligned_vector(const float *values, float *result) {
  result[threadIdx.x] = reinterpret_cast<const float4 *>(values + 2)[threadIdx.x].x;
}

__global__ void global_write_past_end(float *result) { result[threadIdx.x + 1] = 1.0f; }

__global__ void global_read_past_end(const float *values, float *result) {
  result[threadIdx.x] = values[threadIdx.x + 1];
}

__global__ void shift_too_far(int *result) { result[threadIdx.x] = 1 << (threadIdx.x + 8); }

__global__ void endless_loop(int *flag) {
  while (atomicAdd(flag, 0) == 0) {
  }
}

} // namespace
} // namespace bottomup

using namespace bottomup;

#define START(kernel, grid, block, bytes, ...)                                                     \
  launch(#kernel, kernel, grid, block, bytes, nullptr __VA_OPT__(, ) __VA_ARGS__).error

extern "C" {

int bug_missing_barrier(float *result) { return START(missing_barrier, 1, 32, 128, result); }
int bug_missing_barrier_of_a_loop(float *result) {
  return START(missing_barrier_of_a_loop, 1, 64, 256, result);
}
int bug_missing_warp_barrier(float *result) {
  return START(missing_warp_barrier, 1, 32, 128, result);
}
int bug_racing_blocks(float *result) { return START(racing_blocks, 2, 32, 0, result); }
int bug_racing_atomic(int *result) { return START(racing_atomic, 1, 32, 0, result); }
int bug_missing_wait(const float *values, float *result) {
  return START(missing_wait, 1, 32, 512, values, result);
}
int bug_short_wait(const float *values, float *result) {
  return START(short_wait, 1, 32, 1024, values, result);
}
int bug_overwritten_stage(const float *values, float *result) {
  return START(overwritten_stage, 1, 32, 512, values, result);
}
int bug_copy_left_alone(const float *values) { return START(copy_left_alone, 1, 32, 512, values); }
int bug_early_exit() { return START(early_exit, 2, 64, 0); }
int bug_two_barriers() { return START(two_barriers, 1, 64, 0); }
int bug_caller_outside_mask(int *result) { return START(caller_outside_mask, 1, 32, 0, result); }
int bug_absent_lane(int *result) { return START(absent_lane, 1, 32, 0, result); }
int bug_different_operations(int *result) { return START(different_operations, 1, 32, 0, result); }
int bug_value_of_an_absent_lane(float *result) {
  return START(value_of_an_absent_lane, 1, 32, 0, result);
}
int bug_named_barrier_waits_for_too_many() {
  return START(named_barrier_waits_for_too_many, 1, 96, 0);
}
int bug_named_barrier_counts_differ() { return START(named_barrier_counts_differ, 1, 96, 0); }
int bug_shared_write_past_end() { return START(shared_write_past_end, 1, 32, 128); }
int bug_shared_read_past_end(float *result) {
  return START(shared_read_past_end, 1, 32, 128, result);
}
int bug_unwritten_shared(float *result) { return START(unwritten_shared, 1, 32, 128, result); }
int bug_misaligned_matrix(uint32_t *result) { return START(misaligned_matrix, 1, 32, 640, result); }
int bug_misaligned_copy(const float *values) { return START(misaligned_copy, 1, 32, 512, values); }
int bug_misaligned_vector(const float *values, float *result) {
  return START(misaligned_vector, 1, 16, 0, values, result);
}
int bug_global_write_past_end(float *result) {
  return START(global_write_past_end, 1, 32, 0, result);
}
int bug_global_read_past_end(const float *values, float *result) {
  return START(global_read_past_end, 1, 32, 0, values, result);
}
int bug_shift_too_far(int *result) { return START(shift_too_far, 1, 32, 0, result); }
int bug_endless_loop(int *flag) { return START(endless_loop, 1, 32, 0, flag); }
}
