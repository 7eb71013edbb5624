// Adds up the blocks' sums in order and moves the lines.
#pragma once

#include "meanshift_cuda/work_list.cuh"

namespace bottomup {

inline constexpr int kMoveChannels = 4 * kWarp; // a warp reads at a time

struct MoveShared {
  int scan[kScanShared];
  float sums[kThreads / kWarp][kMoveChannels];
};

/// The step of one line. Each of 8 warps adds up every eighth row, so that many rows are on their
/// way from memory at a time.
template <typename Packed>
__global__ void __launch_bounds__(kThreads)
    move_lines_kernel(WindowPass<Packed> task, PassTiling tiling, int blocks, double tolerance,
                      int32_t *rests) {
  MoveShared &shared = *shared_memory<MoveShared>();
  auto *total = reinterpret_cast<float *>(&shared + 1); // (padded)
  const int64_t image = blockIdx.y;
  const int line = static_cast<int>(blockIdx.x);
  const int64_t first_line = image * task.lines.rows + task.first_line;
  const int32_t *resting = task.resting + first_line;
  if (resting[line] != 0) {
    if (thread() == 0)
      rests[first_line + line] = 1;
    return;
  }

  const FlagRange range(task.num_lines);
  int before = 0;
  for (int i = range.begin; i < min(range.end, line); ++i)
    before += resting[i] == 0;
  const int number = block_scan(before, shared.scan).total;
  const int active = scan_active(resting, task.num_lines, shared.scan).total;
  const int line_tile = number / tiling.lines, row = number % tiling.lines;
  const int first_block = line_tile * blocks_of_line_tile(blocks, task.fixed_parts, active, tiling);
  const Share share =
      share_of(first_block, blocks, task.fixed_parts, active, tiling, task.pixel_rows);
  const int groups = tiling.groups(min(tiling.lines, active - line_tile * tiling.lines));
  const int warp_row =
      row / tiling.warp_lines * groups * tiling.warp_lines + row % tiling.warp_lines;
  const float *sums = task.sums + (image * blocks + first_block) * tiling.lines * task.padded;

  for (int channel = 0; channel < task.padded; channel += kMoveChannels) {
    const int own = channel + lane() * 4;
    float4 sum = make_float4(0, 0, 0, 0);
    if (own < task.padded)
#pragma unroll 4
      for (int part = warp(); part < share.parts * groups; part += kThreads / kWarp) {
        const int slot =
            part / groups * tiling.lines + part % groups * tiling.warp_lines + warp_row;
        const float4 value =
            *reinterpret_cast<const float4 *>(sums + int64_t{slot} * task.padded + own);
        sum = make_float4(sum.x + value.x, sum.y + value.y, sum.z + value.z, sum.w + value.w);
      }
    *reinterpret_cast<float4 *>(&shared.sums[warp()][lane() * 4]) = sum;
    __syncthreads();
    if (thread() < kMoveChannels && channel + thread() < task.padded) {
      float value = 0;
      for (int i = 0; i < kThreads / kWarp; ++i)
        value += shared.sums[i][thread()];
      total[channel + thread()] = value;
    }
    __syncthreads();
  }

  if (warp() != 0)
    return;
  double squares = 0;
  for (int c = lane(); c < task.padded; c += kWarp)
    squares += static_cast<double>(total[c]) * total[c];
  squares = warp_sum(squares);
  float *values = task.lines.values + (first_line + line) * task.padded;
  double moved = 0;
  if (squares > 0) { // else no pixel lies in the window
    const double scale = 1 / sqrt(squares);
    for (int c = lane(); c < task.padded; c += kWarp) {
      const auto value = static_cast<float>(total[c] * scale);
      const double difference = static_cast<double>(value) - values[c];
      moved += difference * difference;
      values[c] = value;
    }
  }
  moved = warp_sum(moved);
  if (lane() == 0)
    rests[first_line + line] = sqrt(moved) <= tolerance;
}

} // namespace bottomup
