// The op bottomup_fast::cluster_regions on CPU tensors.
#include <torch/csrc/stable/library.h>

#include <algorithm>
#include <tuple>

#include "contracts/cluster_regions.h"
#include "torch/tensors.h"

namespace bottomup {
namespace {

constexpr const char *kOp = "cluster_regions";

std::tuple<Tensor, Tensor, Tensor> cluster_regions(Tensor points, Tensor regions,
                                                   double bandwidth_deg, int64_t min_support) {
  check(points.dim() == 2, kOp, "points must have shape (N, D)");
  check(points.is_cpu() && regions.is_cpu(), kOp, "tensors must be on the CPU");
  check(points.size(1) >= 1, kOp, "points must have at least one dimension");
  check(regions.scalar_type() == ScalarType::Int && regions.dim() == 1 &&
            regions.size(0) == points.size(0),
        kOp, "regions must be int32 of shape (N)");
  check_window(bandwidth_deg, min_support, kOp);
  regions = torch::stable::contiguous(regions);
  const int64_t count = points.size(0), dimensions = points.size(1);
  const Tensor index = torch::stable::new_empty(points, {count}, ScalarType::Int);
  const Tensor score = torch::stable::new_empty(points, {count}, ScalarType::Float);

  ClusterRegionsProblem problem{};
  problem.points = {1,
                    dimensions,
                    count,
                    points.const_data_ptr(),
                    data_type(points, kOp, "points"),
                    0,
                    points.stride(1),
                    points.stride(0)};
  problem.regions = regions.const_data_ptr<int32_t>();
  problem.bandwidth_deg = bandwidth_deg;
  problem.min_support = min_support;
  problem.index = index.mutable_data_ptr<int32_t>();
  problem.score = score.mutable_data_ptr<float>();
  const Status status = cluster_regions_cpu(problem, selected_simd(), torch_parallel_for);
  check(status == Status::ok, kOp, message(status));

  const int64_t num_modes = static_cast<int64_t>(problem.modes.size()) / dimensions;
  const Tensor modes = torch::stable::new_empty(points, {num_modes, dimensions}, ScalarType::Float);
  std::ranges::copy(problem.modes, modes.mutable_data_ptr<float>());
  return {index, score, modes};
}

} // namespace

STABLE_TORCH_LIBRARY_IMPL(bottomup_fast, CPU, library) {
  library.impl("cluster_regions", TORCH_BOX(&cluster_regions));
}

} // namespace bottomup
