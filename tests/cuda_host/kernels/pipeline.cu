// Sums the columns of a matrix through two stages of shared memory: a kernel to seed bugs in.
#include <cstdint>

#include "common/launch.h"
#include "common/ptx.h"

namespace bottomup {
namespace {

constexpr int kThreads = 32, kColumns = 4 * kThreads;

// Each thread copies four columns of a row and sums four of its neighbour's.
__global__ void sum_columns(const float *values, float *result, int rows, int columns) {
  float *stages = shared_memory<float>();
  const int first = static_cast<int>(blockIdx.x) * kColumns;
  const int own = 4 * static_cast<int>(threadIdx.x);
  const auto start = [&](int row) {
    if (first + own < columns) {
      copy_async(stages + row % 2 * kColumns + own, values + row * columns + first + own);
    }
    commit_copies();
  };
  const int other = 4 * (kThreads - 1 - static_cast<int>(threadIdx.x));
  float sum[4] = {};
  start(0);
  for (int row = 0; row < rows; ++row) {
    if (row + 1 < rows) {
      start(row + 1);
      wait_for_copies<1>();
    } else {
      wait_for_copies<0>();
    }
    __syncthreads();
    const float *stage = stages + row % 2 * kColumns + other;
    sum[0] += stage[0];
    sum[1] += stage[1];
    sum[2] += stage[2];
    sum[3] += stage[3];
    __syncthreads();
  }
  if (first + other < columns) {
    for (int i = 0; i < 4; ++i) {
      result[first + other + i] = sum[i];
    }
  }
}

} // namespace
} // namespace bottomup

extern "C" int pipeline_sum(const float *values, float *result, int rows, int columns) {
  const int blocks = (columns + bottomup::kColumns - 1) / bottomup::kColumns;
  return bottomup::launch("sum_columns", bottomup::sum_columns, static_cast<unsigned>(blocks),
                          bottomup::kThreads, 2 * bottomup::kColumns * sizeof(float), nullptr,
                          values, result, rows, columns)
      .error;
}
