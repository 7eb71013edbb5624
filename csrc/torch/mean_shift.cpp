// The op bottomup_fast::mean_shift.
#include <torch/csrc/stable/library.h>

#include <tuple>

#include "contracts/mean_shift.h"
#include "torch/run.h"

namespace bottomup {
namespace {

constexpr const char *kOp = "mean_shift";

std::tuple<Tensor, Tensor> mean_shift(Tensor points, Tensor seeds, double bandwidth_deg,
                                      double tolerance, int64_t max_steps) {
  MeanShiftProblem problem{};
  problem.points = point_maps(points, kOp, "points");
  problem.seeds = point_maps(seeds, kOp, "seeds");
  check(problem.points.batch == problem.seeds.batch &&
            problem.points.dimensions == problem.seeds.dimensions,
        kOp, "seeds must have the B and D of points");
  check_device(seeds, "seeds", points, kOp);
  check_window(bandwidth_deg, 1, kOp);
  check(max_steps >= 0, kOp, "max_steps must not be negative");
  const int64_t batch = seeds.size(0), count = seeds.size(1), dimensions = seeds.size(2);
  const Tensor modes =
      torch::stable::new_empty(seeds, {batch, count, dimensions}, ScalarType::Float);
  const Tensor support = torch::stable::new_empty(seeds, {batch, count}, ScalarType::Int);
  problem.bandwidth_deg = bandwidth_deg;
  problem.tolerance = tolerance;
  problem.max_steps = max_steps;
  problem.modes = modes.mutable_data_ptr<float>();
  problem.support = support.mutable_data_ptr<int32_t>();

  run<MeanShiftProblem>(BOTTOMUP_KERNELS(mean_shift), problem, points, kOp);
  return {modes, support};
}

} // namespace

STABLE_TORCH_LIBRARY_IMPL(bottomup_fast, CPU, library) {
  library.impl("mean_shift", TORCH_BOX(&mean_shift));
}

#if BOTTOMUP_CUDA
STABLE_TORCH_LIBRARY_IMPL(bottomup_fast, CUDA, library) {
  library.impl("mean_shift", TORCH_BOX(&mean_shift));
}
#endif

} // namespace bottomup
