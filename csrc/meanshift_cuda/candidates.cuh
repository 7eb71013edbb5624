// From the pixels that no window covers to the seeds of a round.
#pragma once

#include "meanshift_cuda/block.cuh"
#include "meanshift_cuda/cluster_buffers.h"

namespace bottomup {

struct SampleTask {
  const uint32_t *uncovered; // (B, words)
  int64_t words;
  int most;    // candidates
  int eighths; // of a stratum, where in it the candidate lies; odd
  const ImageState *state;
  Pool *pools;         // (B), written
  int32_t *candidates; // (B, most), written: their pixels, ascending
};

struct SampleShared {
  int scan[kScanShared];
};

/// A pixel from each of equal strata of the uncovered ones of an image; all if they are few.
static __global__ void __launch_bounds__(kWideThreads) sample_kernel(SampleTask task) {
  SampleShared &shared = *shared_memory<SampleShared>();
  const int64_t image = blockIdx.x;
  const uint32_t *words = task.uncovered + image * task.words;
  const int64_t size = tiles_of(task.words, threads());
  const int64_t begin = min(thread() * size, task.words), end = min(begin + size, task.words);
  int own = 0;
  for (int64_t i = begin; i < end; ++i)
    own += __popc(words[i]);
  const Scan scan = block_scan(own, shared.scan);
  const bool idle = task.state[image].barren_rounds >= kBarrenRounds;
  const int64_t total = scan.total, count = min(total, int64_t{task.most});
  if (thread() == 0)
    task.pools[image] = {static_cast<int32_t>(total), idle ? 0 : static_cast<int32_t>(count)};
  if (idle || count == 0)
    return;

  const auto rank_of = [&](int64_t i) {
    return total == count ? i : (8 * i + task.eighths) * total / (8 * count);
  };
  // The first candidate whose rank is not below the ranks of this thread's pixels.
  int64_t i = total == count ? scan.before
                             : (tiles_of(8 * count * scan.before, total) - task.eighths + 7) / 8;
  i = max(i, int64_t{0});
  int64_t word = begin;
  int before = scan.before;
  for (; i < count && rank_of(i) < scan.before + own; ++i) {
    const int rank = static_cast<int>(rank_of(i));
    while (rank >= before + __popc(words[word]))
      before += __popc(words[word++]);
    task.candidates[image * task.most + i] =
        static_cast<int32_t>(word * kWarp + place_of_bit(words[word], rank - before));
  }
}

/// Copies the candidates' lines, as pixels and as lines of windows; a warp for each.
template <typename Packed>
__global__ void __launch_bounds__(kThreads)
    gather_kernel(PackedLines<Packed> pixels, Candidates<Packed> candidates) {
  const int64_t image = blockIdx.y, row = int64_t{blockIdx.x} * warps() + warp();
  const int64_t place = image * candidates.rows + row, padded = pixels.padded;
  const bool exists = row < candidates.pools[image].candidates;
  const int64_t pixel = exists ? candidates.pixels[place] : 0;
  const Packed *source = pixels.values + (image * pixels.rows + pixel) * padded;
  for (int64_t c = lane(); c < padded; c += kWarp) {
    const Packed value = exists ? source[c] : Packed{};
    candidates.packed[place * padded + c] = value;
    candidates.lines[place * padded + c] = to_float(value);
  }
  if (lane() == 0) {
    candidates.absent[place] = !exists;
    candidates.densities[place] = 0;
    candidates.best[place] = 0;
  }
}

/// The densest of the candidates that are the best of their neighbourhood become seeds.
template <typename Packed>
__global__ void __launch_bounds__(kWideThreads)
    choose_seeds_kernel(Candidates<Packed> candidates, ModeTable table, int64_t padded,
                        int32_t min_support, int sorted) {
  auto *keys = shared_memory<uint64_t>(); // (sorted)
  const int64_t image = blockIdx.x;
  const Pool pool = candidates.pools[image];
  int32_t *absent = table.absent + image * table.rows + table.kept_rows;
  if (pool.candidates == 0) {
    for (int64_t i = thread(); i < table.fresh_rows; i += threads())
      absent[i] = 1;
    if (thread() == 0)
      table.num_fresh[image] = 0;
    return;
  }
  // As many pixels in the window of a candidate as promise a mode of min_support pixels.
  const int64_t promised = int64_t{min_support} * pool.candidates;
  const int64_t least =
      max(min(tiles_of(promised, int64_t{3} * pool.pixels), int64_t{3}), int64_t{1});
  for (int i = thread(); i < sorted; i += threads()) {
    keys[i] = 0;
    if (i >= pool.candidates)
      continue;
    const int64_t place = image * candidates.rows + i;
    const uint32_t key = key_of(candidates.densities[place], i);
    if (candidates.densities[place] >= least && candidates.best[place] <= key)
      keys[i] = key;
  }
  sort_descending(keys, sorted);
  const int fresh_rows = static_cast<int>(min(table.fresh_rows, int64_t{sorted}));
  const int64_t first = image * table.rows + table.kept_rows;
  for (int i = warp(); i < table.fresh_rows; i += warps()) {
    const bool exists = i < fresh_rows && keys[i] != 0;
    if (lane() == 0) {
      absent[i] = !exists;
      table.lines.support[first + i] = 0;
    }
    if (!exists)
      continue;
    const int candidate = kMostKeys - 1 - static_cast<int>(keys[i] % kMostKeys);
    const float *source = candidates.lines + (image * candidates.rows + candidate) * padded;
    for (int64_t c = lane(); c < padded; c += kWarp)
      table.lines.values[(first + i) * padded + c] = source[c];
  }
  for (int i = thread(); i < fresh_rows; i += threads())
    if (keys[i] != 0 && (i + 1 == fresh_rows || keys[i + 1] == 0))
      table.num_fresh[image] = i + 1;
  if (thread() == 0 && keys[0] == 0)
    table.num_fresh[image] = 0;
}

} // namespace bottomup
