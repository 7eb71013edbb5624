// Which modes to keep: by descending support, unless within the bandwidth of a kept one.
#pragma once

#include "meanshift_cuda/block.cuh"
#include "meanshift_cuda/cluster_buffers.h"

namespace bottomup {

struct MergeTask {
  ModeTable from, to;
  int64_t padded;
  float window;
  int32_t min_support;
  int32_t most;       // modes to keep
  uint32_t *overlaps; // (B, rows, words)
  int64_t words;
  ImageState *state;
};

/// The support of a row, zero if there is no mode.
__device__ inline int32_t support_of(const MergeTask &task, int64_t image, int64_t row) {
  const ModeTable &table = task.from;
  const bool exists = row < table.kept_rows
                          ? row < table.num_kept[image]
                          : row < table.rows && row - table.kept_rows < table.num_fresh[image];
  const int32_t support = exists ? table.lines.support[image * table.rows + row] : 0;
  return support >= task.min_support ? support : 0;
}

/// Sets the bits of the rows within the bandwidth of a row; a warp for each.
static __global__ void __launch_bounds__(kThreads) overlaps_kernel(MergeTask task) {
  const int64_t image = blockIdx.y, row = int64_t{blockIdx.x} * warps() + warp();
  const ModeTable &table = task.from;
  if (row >= table.rows || support_of(task, image, row) == 0)
    return;
  const float *lines = table.lines.values + image * table.rows * task.padded;
  for (int64_t word = 0; word < task.words; ++word) {
    const bool exists = support_of(task, image, word * kWarp + lane()) > 0;
    uint32_t bits = 0;
    for (uint32_t left = __ballot_sync(kAllLanes, exists); left != 0; left &= left - 1) {
      const int bit = place_of_bit(left, 0);
      const float *other = lines + (word * kWarp + bit) * task.padded;
      float product = 0;
      for (int64_t c = lane(); c < task.padded; c += kWarp)
        product += lines[row * task.padded + c] * other[c];
      bits |= static_cast<uint32_t>(fabsf(warp_sum(product)) >= task.window) << bit;
    }
    if (lane() == 0)
      task.overlaps[(image * table.rows + row) * task.words + word] = bits;
  }
}

inline constexpr int kMostOverlapWords = (kKeptModes + kSeeds) / 32;

struct MergeShared {
  int32_t kept[kKeptModes];
  int num_kept;
  int any_fresh;
};

/// Chooses among the sorted rows with one warp, whose lanes hold the bits of the rows left out.
__device__ inline void choose_kept(const MergeTask &task, int64_t image, const uint64_t *keys,
                                   int sorted, MergeShared &shared) {
  constexpr int words_of_lane = kMostOverlapWords / kWarp + 1;
  uint32_t left_out[words_of_lane] = {};
  int kept = 0, any_fresh = 0;
  for (int i = 0; i < sorted && keys[i] != 0 && kept < task.most; ++i) {
    const auto row = static_cast<int>(~static_cast<uint32_t>(keys[i]));
    uint32_t word = 0;
#pragma unroll
    for (int k = 0; k < words_of_lane; ++k)
      if (row / kWarp / kWarp == k)
        word = __shfl_sync(kAllLanes, left_out[k], row / kWarp % kWarp);
    if (word >> row % kWarp & 1)
      continue;
    if (lane() == 0)
      shared.kept[kept] = row;
    ++kept;
    any_fresh |= row >= task.from.kept_rows;
    const uint32_t *bits = task.overlaps + (image * task.from.rows + row) * task.words;
#pragma unroll
    for (int k = 0; k < words_of_lane; ++k)
      if (k * kWarp + lane() < task.words)
        left_out[k] |= bits[k * kWarp + lane()];
  }
  if (lane() == 0) {
    shared.num_kept = kept;
    shared.any_fresh = any_fresh;
  }
}

static __global__ void __launch_bounds__(kWideThreads) merge_kernel(MergeTask task, int sorted) {
  MergeShared &shared = *shared_memory<MergeShared>();
  auto *keys = reinterpret_cast<uint64_t *>(&shared + 1); // (sorted)
  const int64_t image = blockIdx.x;
  for (int row = thread(); row < sorted; row += threads()) {
    const auto support = static_cast<uint32_t>(support_of(task, image, row));
    // The earlier of equal ones first.
    keys[row] = support == 0 ? 0 : uint64_t{support} << 32 | ~static_cast<uint32_t>(row);
  }
  sort_descending(keys, sorted);
  if (warp() == 0)
    choose_kept(task, image, keys, sorted, shared);
  __syncthreads();
  const int64_t first = image * task.from.rows;
  for (int64_t i = warp(); i < task.to.kept_rows; i += warps()) {
    const bool exists = i < shared.num_kept;
    if (lane() == 0)
      task.to.absent[first + i] = !exists;
    if (!exists)
      continue;
    const int64_t row = first + shared.kept[i];
    for (int64_t c = lane(); c < task.padded; c += kWarp)
      task.to.lines.values[(first + i) * task.padded + c] =
          task.from.lines.values[row * task.padded + c];
    if (lane() == 0)
      task.to.lines.support[first + i] = task.from.lines.support[row];
  }
  if (thread() == 0) {
    int32_t &barren_rounds = task.state[image].barren_rounds;
    barren_rounds = shared.any_fresh ? 0 : barren_rounds + 1;
    task.to.num_kept[image] = shared.num_kept;
    task.to.num_fresh[image] = 0;
  }
}

} // namespace bottomup
