#include "contracts/mean_shift.h"

#include <cmath>
#include <numbers>

#include "common/workspace.h"
#include "meanshift_cuda/lines.cuh"
#include "meanshift_cuda/pack.h"
#include "meanshift_cuda/window_pass.h"

namespace bottomup {
namespace {

// Blocks for a tile of seeds. Their number must not depend on that of the seeds, for the sums of a
// seed are rounded in the order in which they are cut.
constexpr int kParts = 32;

struct Buffers {
  Buffers(const MeanShiftProblem &problem, void *memory) : workspace(memory) {
    const int64_t batch = problem.points.batch;
    padded = padded_dimensions(problem.points.dimensions);
    points.rows = round_up(problem.points.pixels, kPackedPixels);
    seeds.rows = round_up(problem.seeds.pixels, kPackedPixels);
    points.padded = seeds.padded = padded;
    points.values = workspace.take<float>(batch * points.rows * padded);
    seeds.values = workspace.take<float>(batch * seeds.rows * padded);
    points.has_line = seeds.has_line = nullptr;
    support = workspace.take<int32_t>(batch * seeds.rows);
    for (int32_t *&flags : resting)
      flags = workspace.take<int32_t>(batch * seeds.rows);
    sums = workspace.take<float>(batch * sums_of<float>(padded, problem.seeds.pixels, kParts));
  }

  Workspace workspace;
  int64_t padded;
  PackedLines<float> points, seeds;
  int32_t *support;    // (B, seeds.rows)
  int32_t *resting[2]; // likewise, of this step and the next
  float *sums;
};

} // namespace

int64_t mean_shift_cuda_workspace(const MeanShiftProblem &problem) {
  return Buffers(problem, nullptr).workspace.bytes();
}

CudaStatus mean_shift_cuda(const MeanShiftProblem &problem, void *workspace, int32_t *input_status,
                           CudaStream stream) {
  const Buffers buffers(problem, workspace);
  const int64_t batch = problem.points.batch, count = problem.seeds.pixels;
  Launcher run(stream);
  pack(run, problem.points, nullptr, buffers.points, Status::non_finite_points, input_status);
  pack(run, problem.seeds, nullptr, buffers.seeds, Status::non_finite_seeds, input_status);
  run.clear(buffers.support, batch * buffers.seeds.rows);
  run.clear(buffers.resting[0], batch * buffers.seeds.rows);

  WindowPass<float> pass{};
  pass.pixels = buffers.points.values;
  pass.pixel_rows = buffers.points.rows;
  pass.padded = static_cast<int>(buffers.padded);
  pass.lines = {buffers.seeds.values, buffers.seeds.rows, buffers.support};
  pass.num_lines = static_cast<int>(count);
  pass.resting = buffers.resting[0];
  pass.window = static_cast<float>(std::cos(problem.bandwidth_deg * std::numbers::pi / 180));
  pass.fixed_parts = kParts;
  pass.sums = buffers.sums;
  if (problem.points.pixels > 0) {
    for (int64_t step = 0; step < problem.max_steps; ++step) {
      look_through_windows<Pass::step>(run, batch, pass);
      int32_t *rests = buffers.resting[(step + 1) % 2];
      move_lines(run, batch, pass, problem.tolerance, rests);
      pass.resting = rests;
    }
    run.clear(buffers.resting[0], batch * buffers.seeds.rows);
    pass.resting = buffers.resting[0];
    look_through_windows<Pass::count>(run, batch, pass);
  }

  const ModesTask modes{buffers.seeds.values,
                        buffers.seeds.rows,
                        buffers.padded,
                        buffers.support,
                        nullptr,
                        problem.modes,
                        count,
                        problem.points.dimensions,
                        problem.support};
  run("store_modes", store_modes_kernel, grid_of(tiles_of(count, kThreads / kWarp), batch),
      kThreads, 0, modes);
  return run.status();
}

} // namespace bottomup
