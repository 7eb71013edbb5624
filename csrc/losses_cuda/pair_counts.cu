#include "losses_cuda/pair_counts.h"

#include "common/ptx.h"
#include "losses_cuda/block.cuh"

namespace bottomup {
namespace {

constexpr int kThreads = 256;

// Pixels of a band in which a block counts pairs: all scales begin anew in it, and reach as far as
// the next one's first row and column of them.
constexpr int kBand = 8, kReach = 8, kColumns = kThreads + kReach;

__global__ void __launch_bounds__(kThreads)
    count_pairs_of_bands(LabelSort sort, int height, int width, int32_t *pairs) {
  int *partial = shared_memory<int>();
  auto *valid = reinterpret_cast<uint8_t *>(partial + kWarp); // (kBand + 1, kColumns)
  const int64_t image = blockIdx.z;
  const int32_t *labels = sort.labels + image * sort.pixels;
  const int first_y = static_cast<int>(blockIdx.y) * kBand;
  const int first_x = static_cast<int>(blockIdx.x) * kThreads;
  for (int item = threadIdx.x; item < (kBand + 1) * kColumns; item += kThreads) {
    const int y = first_y + item / kColumns, x = first_x + item % kColumns;
    const bool inside = y < height && x < width;
    const int label = inside ? labels[static_cast<int64_t>(y) * width + x] : -1;
    valid[item] = label >= 0 && label < sort.groups;
  }
  __syncthreads();
  const int x = threadIdx.x;
  int counts[kScales] = {};
#pragma unroll
  for (int scale = 0; scale < kScales; ++scale)
    for (int y = 0; x % (1 << scale) == 0 && y < kBand; y += 1 << scale) {
      const uint8_t *pixel = valid + y * kColumns + x;
      if (*pixel != 0)
        counts[scale] += pixel[1 << scale] + pixel[kColumns << scale];
    }
#pragma unroll
  for (int scale = 0; scale < kScales; ++scale) {
    const int sum = block_sum(counts[scale], partial);
    if (threadIdx.x == 0)
      atomicAdd(pairs + image * kScales + scale, sum);
  }
}

} // namespace

void count_pairs(const LabelSort &sort, int height, int width, int32_t *pairs, Launcher &launches) {
  launches.clear(pairs, sort.batch * kScales);
  launches("count_pairs", count_pairs_of_bands,
           grid_of((width + kThreads - 1) / kThreads, (height + kBand - 1) / kBand, sort.batch),
           kThreads, kWarp * sizeof(int) + (kBand + 1) * kColumns, sort, height, width, pairs);
}

} // namespace bottomup
