// The mean-shift ops by plain pointers and sizes.
#include <cmath>
#include <numbers>

#include "common/workspace.h"
#include "contracts/assign.h"
#include "contracts/cluster.h"
#include "contracts/mean_shift.h"
#include "meanshift_cuda/pack.h"
#include "meanshift_cuda/window_pass.h"

using namespace bottomup;

/// Features (B, D, N) of a type, 16 bit numbers as their bits; strides in elements.
struct Features {
  int64_t batch, dimensions, pixels, type, batch_stride, channel_stride, pixel_stride;
};

namespace {

FeatureMaps maps_of(const void *data, const Features &features) {
  return {features.batch,
          features.dimensions,
          features.pixels,
          data,
          static_cast<DataType>(features.type),
          features.batch_stride,
          features.channel_stride,
          features.pixel_stride};
}

MeanShiftProblem mean_shift_problem(const void *points, const Features *point_sizes,
                                    const void *seeds, const Features *seed_sizes,
                                    double bandwidth_deg, double tolerance, int64_t max_steps,
                                    float *modes, int32_t *support) {
  return {maps_of(points, *point_sizes),
          maps_of(seeds, *seed_sizes),
          bandwidth_deg,
          tolerance,
          max_steps,
          modes,
          support};
}

ClusterProblem cluster_problem(const void *features, const Features *sizes, const bool *mask,
                               double bandwidth_deg, int64_t min_support, int64_t rounds,
                               int64_t fast, int64_t max_modes) {
  ClusterProblem problem{};
  problem.features = maps_of(features, *sizes);
  problem.mask = mask;
  problem.width = sizes->pixels;
  problem.settings = {bandwidth_deg, min_support, rounds, fast != 0};
  problem.max_modes = max_modes;
  return problem;
}

/// One step of lines on features, of float16 or float32, and the support they had before it.
template <typename Packed> struct Step {
  Step(const Features &sizes, int64_t num_lines, int64_t fixed_parts, void *memory)
      : workspace(memory) {
    packed.rows = round_up(sizes.pixels, kPackedPixels);
    packed.padded = padded_dimensions(sizes.dimensions);
    packed.values = workspace.take<Packed>(sizes.batch * packed.rows * packed.padded);
    packed.has_line = workspace.take<uint32_t>(sizes.batch * packed.rows / 32);
    sums = workspace.take<float>(
        sizes.batch * sums_of<Packed>(packed.padded, num_lines, static_cast<int>(fixed_parts)));
  }

  int run(const FeatureMaps &features, const LineTable &lines, int64_t first_line,
          int64_t num_lines, const int32_t *resting, double window, double tolerance,
          int64_t fixed_parts, int32_t *rests, int32_t *status) {
    Launcher launcher(nullptr);
    pack(launcher, features, nullptr, packed, Status::non_finite_features, status);
    WindowPass<Packed> pass{};
    pass.pixels = packed.values;
    pass.pixel_rows = packed.rows;
    pass.padded = static_cast<int>(packed.padded);
    pass.lines = lines;
    pass.first_line = static_cast<int>(first_line);
    pass.num_lines = static_cast<int>(num_lines);
    pass.resting = resting;
    pass.window = static_cast<float>(window);
    pass.fixed_parts = static_cast<int>(fixed_parts);
    pass.sums = sums;
    look_through_windows<Pass::count>(launcher, features.batch, pass);
    look_through_windows<Pass::step>(launcher, features.batch, pass);
    move_lines(launcher, features.batch, pass, tolerance, rests);
    return launcher.status().error;
  }

  Workspace workspace;
  PackedLines<Packed> packed;
  float *sums;
};

} // namespace

extern "C" {

int64_t meanshift_step_workspace(const Features *sizes, int64_t half, int64_t num_lines,
                                 int64_t fixed_parts) {
  return half ? Step<Float16>(*sizes, num_lines, fixed_parts, nullptr).workspace.bytes()
              : Step<float>(*sizes, num_lines, fixed_parts, nullptr).workspace.bytes();
}

int meanshift_step(const void *features, const Features *sizes, int64_t half, float *lines,
                   int32_t *support, int64_t rows, int64_t first_line, int64_t num_lines,
                   const int32_t *resting, double window, double tolerance, int64_t fixed_parts,
                   int32_t *rests, void *workspace, int32_t *status) {
  const FeatureMaps maps = maps_of(features, *sizes);
  const LineTable table{lines, rows, support};
  return half ? Step<Float16>(*sizes, num_lines, fixed_parts, workspace)
                    .run(maps, table, first_line, num_lines, resting, window, tolerance,
                         fixed_parts, rests, status)
              : Step<float>(*sizes, num_lines, fixed_parts, workspace)
                    .run(maps, table, first_line, num_lines, resting, window, tolerance,
                         fixed_parts, rests, status);
}

int meanshift_assign(const void *features, const Features *sizes, const float *modes,
                     const int32_t *num_modes, int64_t max_modes, int32_t *index, float *score,
                     int32_t *status) {
  const AssignProblem problem{
      maps_of(features, *sizes), max_modes, modes, num_modes, false, index, score};
  return assign_cuda(problem, nullptr, status, nullptr).error;
}

int64_t meanshift_mean_shift_workspace(const Features *points, const Features *seeds) {
  return mean_shift_cuda_workspace(
      mean_shift_problem(nullptr, points, nullptr, seeds, 0, 0, 0, nullptr, nullptr));
}

int meanshift_mean_shift(const void *points, const Features *point_sizes, const void *seeds,
                         const Features *seed_sizes, double bandwidth_deg, double tolerance,
                         int64_t max_steps, float *modes, int32_t *support, void *workspace,
                         int32_t *status) {
  return mean_shift_cuda(mean_shift_problem(points, point_sizes, seeds, seed_sizes, bandwidth_deg,
                                            tolerance, max_steps, modes, support),
                         workspace, status, nullptr)
      .error;
}

int64_t meanshift_cluster_workspace(const Features *sizes, double bandwidth_deg, int64_t fast,
                                    int64_t max_modes) {
  return cluster_cuda_workspace(
      cluster_problem(nullptr, sizes, nullptr, bandwidth_deg, 1, 1, fast, max_modes));
}

int meanshift_cluster(const void *features, const Features *sizes, const bool *mask,
                      double bandwidth_deg, int64_t min_support, int64_t rounds, int64_t fast,
                      int64_t max_modes, int32_t *labels, int32_t *num_segments, float *score,
                      float *modes, int32_t *support, int32_t *num_modes, void *workspace,
                      int32_t *status) {
  ClusterProblem problem =
      cluster_problem(features, sizes, mask, bandwidth_deg, min_support, rounds, fast, max_modes);
  problem.labels = labels;
  problem.num_segments = num_segments;
  problem.score = score;
  problem.modes = modes;
  problem.support = support;
  problem.num_modes = num_modes;
  return cluster_cuda(problem, workspace, status, nullptr).error;
}
}
