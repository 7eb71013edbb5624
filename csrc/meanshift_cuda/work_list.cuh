// Which lines a block works on: those that rest leave the list.
#pragma once

#include "meanshift_cuda/block.cuh"
#include "meanshift_cuda/window_pass.h"

namespace bottomup {

/// Each thread looks at some neighbouring flags, so that the lines keep their order.
struct FlagRange {
  __device__ explicit FlagRange(int count) {
    const int size = (count + threads() - 1) / threads();
    begin = min(thread() * size, count);
    end = min(begin + size, count);
  }
  int begin, end;
};

__device__ inline Scan scan_active(const int32_t *resting, int count, int *shared) {
  const FlagRange range(count);
  int active = 0;
  for (int i = range.begin; i < range.end; ++i)
    active += resting[i] == 0;
  return block_scan(active, shared);
}

/// Writes the active lines with numbers from `first` to `first` + `size` to `list`.
__device__ inline void list_active(const int32_t *resting, int count, int before, int first,
                                   int size, int *list) {
  const FlagRange range(count);
  int number = before - first;
  for (int i = range.begin; i < range.end; ++i)
    if (resting[i] == 0) {
      if (number >= 0 && number < size)
        list[number] = i;
      ++number;
    }
  __syncthreads();
}

/// A block's share of a pass.
struct BlockWork {
  Share share;
  int lines; // in the list; none if there is nothing to do
};

template <typename Packed>
__device__ BlockWork find_work(const WindowPass<Packed> &task, const PassTiling &tiling,
                               int64_t image, int *scan_shared, int *list) {
  const int32_t *resting = task.resting + image * task.lines.rows + task.first_line;
  const Scan active = scan_active(resting, task.num_lines, scan_shared);
  BlockWork work{};
  if (active.total == 0)
    return work;
  work.share = share_of(static_cast<int>(blockIdx.x), static_cast<int>(gridDim.x), task.fixed_parts,
                        active.total, tiling, task.pixel_rows);
  if (work.share.first == work.share.last)
    return work;
  const int first = work.share.line_tile * tiling.lines;
  work.lines = min(tiling.lines, active.total - first);
  list_active(resting, task.num_lines, active.before, first, tiling.lines, list);
  return work;
}

} // namespace bottomup
