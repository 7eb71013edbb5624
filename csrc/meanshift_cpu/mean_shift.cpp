#include "contracts/mean_shift.h"

#include "meanshift_cpu/climbing.h"
#include "meanshift_cpu/mode_finding.h"

namespace bottomup {
namespace {

/// The points of an image as lines, one a row.
bool copy_lines(const FeatureMaps &features, int64_t image, Simd simd, Lines &lines) {
  PointSet points(features.dimensions);
  if (!points.add(features, image, range(features.pixels), 1, simd))
    return false;
  lines = points.lines(range(points.count()));
  return true;
}

void climb(const Climb &points, Lines &lines, const MeanShiftProblem &problem) {
  std::vector<int32_t> moving = range(lines.count());
  for (int64_t step = 0; step < problem.max_steps && !moving.empty(); ++step) {
    const std::vector<double> moved = points.step(lines, moving);
    std::vector<int32_t> still;
    for (size_t i = 0; i < moving.size(); ++i)
      if (moved[i] > problem.tolerance)
        still.push_back(moving[i]);
    moving = std::move(still);
  }
}

} // namespace

Status mean_shift_cpu(const MeanShiftProblem &problem, Simd simd, const ParallelFor &parallel_for) {
  const int64_t dimensions = problem.points.dimensions, count = problem.seeds.pixels;
  for (int64_t image = 0; image < problem.points.batch; ++image) {
    PointSet points(dimensions);
    if (!points.add(problem.points, image, range(problem.points.pixels), 1, simd))
      return Status::non_finite_points;
    Lines lines(dimensions);
    if (!copy_lines(problem.seeds, image, simd, lines))
      return Status::non_finite_seeds;
    const Climb climbing(points, Window(problem.bandwidth_deg).cosine, simd, parallel_for);
    climb(climbing, lines, problem);
    const std::vector<double> support = climbing.support(lines);
    for (int64_t i = 0; i < count; ++i) {
      make_canonical(lines.row(i), dimensions);
      problem.support[image * count + i] = static_cast<int32_t>(support[i]);
    }
    std::ranges::copy(lines.values, problem.modes + image * count * dimensions);
  }
  return Status::ok;
}

} // namespace bottomup
