// Correct kernels, one for each feature of the execution model.
#include <cstdint>
#include <iterator>

#include "common/launch.h"
#include "common/ptx.h"

namespace bottomup {
namespace {

__global__ void reverse_blocks(const float *values, float *result, int count) {
  float *shared = shared_memory<float>();
  const int thread = static_cast<int>(threadIdx.x), size = static_cast<int>(blockDim.x);
  const int first = static_cast<int>(blockIdx.x) * size;
  shared[thread] = first + thread < count ? __ldg(values + first + thread) : 0.0f;
  __syncthreads();
  const int target = first + size - 1 - thread;
  if (target < count) {
    result[target] = shared[thread];
  }
}

__global__ void number_threads(int *result) {
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  const unsigned threads = blockDim.x * blockDim.y * blockDim.z;
  result[block * threads + thread] =
      static_cast<int>(threadIdx.x + 10 * threadIdx.y + 100 * threadIdx.z + 1000 * blockIdx.x +
                       10000 * blockIdx.y + 100000 * blockIdx.z);
}

__global__ void shuffle(const float *values, float *result, int argument, int width) {
  const float value = values[threadIdx.x];
  const unsigned size = blockDim.x;
  result[threadIdx.x] = __shfl_sync(kAllLanes, value, argument, width);
  result[threadIdx.x + size] =
      __shfl_up_sync(kAllLanes, value, static_cast<unsigned>(argument), width);
  result[threadIdx.x + 2 * size] =
      __shfl_down_sync(kAllLanes, value, static_cast<unsigned>(argument), width);
  result[threadIdx.x + 3 * size] = __shfl_xor_sync(kAllLanes, value, argument, width);
}

__global__ void shuffle_in_halves(const double *values, double *result) {
  double value = values[threadIdx.x];
  if (threadIdx.x % 32 < 16) {
    value += __shfl_xor_sync(0x0000ffffu, value, 1);
  } else {
    value -= __shfl_xor_sync(0xffff0000u, value, 2);
  }
  result[threadIdx.x] = value;
}

__global__ void vote(const int *values, unsigned *result) {
  const int value = values[threadIdx.x];
  unsigned *own = result + 4 * threadIdx.x;
  own[0] = __ballot_sync(kAllLanes, value > 0);
  own[1] = static_cast<unsigned>(__any_sync(kAllLanes, value > 2));
  own[2] = static_cast<unsigned>(__all_sync(kAllLanes, value > -3));
  own[3] = static_cast<unsigned>(__popc(own[0]) * 10000 + __ffs(static_cast<int>(own[0])) * 100 +
                                 __clz(static_cast<int>(own[0])));
}

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
__global__ void reduce(const int *values, int *result) {
  const int value = values[threadIdx.x];
  int *own = result + 4 * threadIdx.x;
  own[0] = __reduce_add_sync(kAllLanes, value);
  own[1] = __reduce_min_sync(kAllLanes, value);
  own[2] = __reduce_max_sync(kAllLanes, value);
  own[3] = static_cast<int>(__reduce_or_sync(kAllLanes, static_cast<unsigned>(value)));
}
#else
__global__ void reduce(const int *, int *) {}
#endif

__global__ void count_values(const int *values, int *result, int bins) {
  int *shared = shared_memory<int>();
  for (int bin = static_cast<int>(threadIdx.x); bin < bins; bin += static_cast<int>(blockDim.x)) {
    shared[bin] = 0;
  }
  __syncthreads();
  const int value = values[blockIdx.x * blockDim.x + threadIdx.x];
  atomicAdd(shared + value, 1);
  __syncthreads();
  for (int bin = static_cast<int>(threadIdx.x); bin < bins; bin += static_cast<int>(blockDim.x)) {
    atomicAdd(result + bin, shared[bin]);
  }
  atomicMax(result + bins, value);
  atomicMin(result + bins + 1, value);
  atomicOr(result + bins + 2, 1 << value);
  atomicCAS(result + bins + 3, 0, 7);
}

// The first warps of a block make what the others use, by one barrier for each direction.
__global__ void produce_and_consume(const float *values, float *result, int stages) {
  float *shared = shared_memory<float>();
  const int half = static_cast<int>(blockDim.x) / 2, all = 2 * half;
  const int thread = static_cast<int>(threadIdx.x);
  float sum = 0.0f;
  for (int stage = 0; stage < stages; ++stage) {
    if (thread < half) {
      shared[thread] = values[stage * half + thread];
      named_barrier(1, all);
      named_barrier(2, all);
    } else {
      named_barrier(1, all);
      sum += shared[all - 1 - thread];
      named_barrier(2, all);
    }
  }
  if (thread >= half) {
    result[thread - half] = sum;
  }
}

// Sums rows of 4 numbers per thread, the next row on its way while one is added.
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
__global__ void sum_rows(const float *values, float *result, int rows, int last_bytes) {
  float *shared = shared_memory<float>();
  const int width = 4 * static_cast<int>(blockDim.x), column = 4 * static_cast<int>(threadIdx.x);
  const auto start = [&](int row) {
    const int bytes = row == rows - 1 ? last_bytes : 16;
    copy_async(shared + row % 2 * width + column, values + row * width + column, bytes);
    commit_copies();
  };
  float sum = 0.0f;
  start(0);
  for (int row = 0; row < rows; ++row) {
    if (row + 1 < rows) {
      start(row + 1);
      wait_for_copies<1>();
    } else {
      wait_for_copies<0>();
    }
    __syncthreads();
    for (int i = 0; i < 4; ++i) {
      sum += shared[row % 2 * width + (column + 4) % width + i];
    }
    __syncthreads();
  }
  result[threadIdx.x] = sum;
}
#else
__global__ void sum_rows(const float *, float *, int, int) {}
#endif

// (16, 16) times (16, 8): a lies row by row in shared memory, b too, hence transposed.
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
template <bool bfloat16>
__global__ void multiply(const uint16_t *a, const uint16_t *b, float *result) {
  uint16_t *left = shared_memory<uint16_t>(), *right = left + 16 * 16;
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = lane; i < 16 * 16; i += kWarp) {
    left[i] = a[i];
    right[i] = b[i / 16 * 8 + i % 8]; // the second half of a row repeats the first
  }
  __syncwarp();
  uint32_t rows[4], columns[4];
  load_matrices(rows, left + lane % 16 * 16 + lane / 16 * 8);
  load_matrices_transposed(columns, right + lane % 16 * 16 + lane / 16 * 8);
  float sum[4] = {1.0f, 1.0f, 1.0f, 1.0f};
  const uint32_t pair[2] = {columns[0], columns[1]};
  if constexpr (bfloat16) {
    multiply_bfloat16(sum, rows, pair);
  } else {
    multiply_float16(sum, rows, pair);
  }
  for (int i = 0; i < 4; ++i) {
    result[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = sum[i];
  }
}
#else
template <bool bfloat16> __global__ void multiply(const uint16_t *, const uint16_t *, float *) {}
#endif

__global__ void spread_matrices(const uint16_t *values, uint32_t *result) {
  uint16_t *shared = shared_memory<uint16_t>();
  for (unsigned i = threadIdx.x; i < 256; i += kWarp) {
    shared[i] = values[i];
  }
  __syncwarp();
  uint32_t plain[4], transposed[4];
  load_matrices(plain, shared + 8 * threadIdx.x);
  load_matrices_transposed(transposed, shared + 8 * threadIdx.x);
  for (unsigned i = 0; i < 4; ++i) {
    result[threadIdx.x * 4 + i] = plain[i];
    result[128 + threadIdx.x * 4 + i] = transposed[i];
  }
}

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
__global__ void pack(const float *values, uint32_t *result, float *back) {
  const float value = values[threadIdx.x];
  result[2 * threadIdx.x] = pack_float16(value, -value);
  result[2 * threadIdx.x + 1] = pack_bfloat16(value, -value);
  back[threadIdx.x] = float_of_float16(static_cast<uint16_t>(result[2 * threadIdx.x] & 0xffffu));
}
#else
__global__ void pack(const float *, uint32_t *, float *) {}
#endif

__global__ void add_one(int *values) { values[blockDim.x - 1 - threadIdx.x] += 1; }

// result[0] counts, result[1 + i] is the thread that came i-th to the end.
__global__ void note_arrival(int *result) {
  __syncthreads();
  result[1 + atomicAdd(result, 1)] = static_cast<int>(threadIdx.x);
}

__global__ void synchronise(int times) {
  for (int i = 0; i < times; ++i) {
    __syncthreads();
  }
}

} // namespace
} // namespace bottomup

using namespace bottomup;

extern "C" {

int model_reverse_blocks(const float *values, float *result, int64_t count) {
  const unsigned block = 64;
  const auto blocks = static_cast<unsigned>((count + block - 1) / block);
  return launch("reverse_blocks", reverse_blocks, blocks, block, block * sizeof(float), nullptr,
                values, result, static_cast<int>(count))
      .error;
}

int model_number_threads(int *result) {
  return launch("number_threads", number_threads, dim3(3, 2, 2), dim3(5, 4, 3), 0, nullptr, result)
      .error;
}

int model_shuffle(const float *values, float *result, int64_t threads, int argument, int width) {
  return launch("shuffle", shuffle, 1, static_cast<unsigned>(threads), 0, nullptr, values, result,
                argument, width)
      .error;
}

int model_shuffle_in_halves(const double *values, double *result) {
  return launch("shuffle_in_halves", shuffle_in_halves, 1, 64, 0, nullptr, values, result).error;
}

int model_vote(const int *values, unsigned *result) {
  return launch("vote", vote, 1, 64, 0, nullptr, values, result).error;
}

int model_reduce(const int *values, int *result) {
  return launch("reduce", reduce, 1, 64, 0, nullptr, values, result).error;
}

int model_count_values(const int *values, int *result, int64_t blocks, int bins) {
  return launch("count_values", count_values, static_cast<unsigned>(blocks), 96,
                static_cast<size_t>(bins) * sizeof(int), nullptr, values, result, bins)
      .error;
}

int model_produce_and_consume(const float *values, float *result, int stages) {
  return launch("produce_and_consume", produce_and_consume, 1, 128, 64 * sizeof(float), nullptr,
                values, result, stages)
      .error;
}

int model_sum_rows(const float *values, float *result, int rows, int last_bytes) {
  return launch("sum_rows", sum_rows, 1, 64, 2 * 64 * 16, nullptr, values, result, rows, last_bytes)
      .error;
}

int model_multiply(const uint16_t *a, const uint16_t *b, float *result, int bfloat16) {
  return launch("multiply", bfloat16 ? multiply<true> : multiply<false>, 1, 32, 2 * 16 * 16 * 2,
                nullptr, a, b, result)
      .error;
}

int model_spread_matrices(const uint16_t *values, uint32_t *result) {
  return launch("spread_matrices", spread_matrices, 1, 32, 512, nullptr, values, result).error;
}

int model_pack(const float *values, uint32_t *result, float *back, int64_t count) {
  return launch("pack", pack, 1, static_cast<unsigned>(count), 0, nullptr, values, result, back)
      .error;
}

int model_add_twice(int *values, int *copy, int64_t count) {
  const auto bytes = static_cast<size_t>(count) * sizeof(int);
  cudaMemsetAsync(values, 0, bytes, nullptr);
  for (int i = 0; i < 2; ++i) {
    const CudaStatus status =
        launch("add_one", add_one, 1, static_cast<unsigned>(count), 0, nullptr, values);
    if (!status.ok()) {
      return status.error;
    }
  }
  return cudaMemcpyAsync(copy, values, bytes, cudaMemcpyDeviceToDevice, nullptr);
}

int model_synchronise(int times, int64_t grid, int64_t block, int64_t shared_bytes) {
  return launch("synchronise", synchronise, static_cast<unsigned>(grid),
                static_cast<unsigned>(block), static_cast<size_t>(shared_bytes), nullptr, times)
      .error;
}

// Launches without cudaFuncSetAttribute.
int model_launch_without_attribute(int64_t shared_bytes) {
  cudaLaunchConfig_t config{};
  config.gridDim = 1;
  config.blockDim = 32;
  config.dynamicSmemBytes = static_cast<size_t>(shared_bytes);
  return cudaLaunchKernelEx(&config, note_arrival, static_cast<int *>(nullptr));
}

int model_arrival_order(int *result) {
  return launch("note_arrival", note_arrival, 1, 64, 0, nullptr, result).error;
}

int64_t model_attribute(int64_t attribute) {
  int value = -1;
  cudaDeviceGetAttribute(&value, static_cast<cudaDeviceAttr>(attribute), 0);
  return value;
}

// More arguments than registers, of either kind.
int model_arguments(double *result, int a, float b, int64_t c, double d, unsigned e, double f,
                    int64_t g, double h, int64_t i, float j, int64_t k, double l, int m, double n,
                    int64_t o, double p, double q, double r, const double *none, float s, bool t) {
  const double values[] = {static_cast<double>(a),
                           b,
                           static_cast<double>(c),
                           d,
                           static_cast<double>(e),
                           f,
                           static_cast<double>(g),
                           h,
                           static_cast<double>(i),
                           j,
                           static_cast<double>(k),
                           l,
                           static_cast<double>(m),
                           n,
                           static_cast<double>(o),
                           p,
                           q,
                           r,
                           none == nullptr ? 0.0 : 1.0,
                           s,
                           t ? 1.0 : 0.0};
  for (size_t index = 0; index < std::size(values); ++index) {
    result[index] = values[index];
  }
  return 0;
}
}
