// The op bottomup_fast::cluster.
#include <torch/csrc/stable/library.h>

#include <optional>
#include <tuple>

#include "contracts/cluster.h"
#include "torch/run.h"

namespace bottomup {
namespace {

constexpr const char *kOp = "cluster";

using Result = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

Result cluster(Tensor features, std::optional<Tensor> mask, double bandwidth_deg,
               int64_t min_support, int64_t rounds, int64_t max_modes, bool fast) {
  ClusterProblem problem{};
  problem.features = feature_maps(features, kOp);
  check(problem.features.dimensions >= 1, kOp, "features must have at least one dimension");
  check_window(bandwidth_deg, min_support, kOp);
  check(rounds >= 1, kOp, "rounds must be at least 1");
  check(max_modes >= 1, kOp, "max_modes must be at least 1");
  const int64_t batch = features.size(0), height = features.size(2), width = features.size(3);
  if (mask) {
    check_device(*mask, "mask", features, kOp);
    check(mask->scalar_type() == ScalarType::Bool && mask->dim() == 3 && mask->size(0) == batch &&
              mask->size(1) == height && mask->size(2) == width,
          kOp, "mask must be bool of shape (B, H, W) with the B, H and W of features");
    mask = torch::stable::contiguous(*mask);
    problem.mask = mask->const_data_ptr<bool>();
  }
  const auto empty = [&](std::initializer_list<int64_t> shape, ScalarType type) {
    return torch::stable::new_empty(features, shape, type);
  };
  const Tensor labels = empty({batch, height, width}, ScalarType::Int);
  const Tensor num_segments = empty({batch}, ScalarType::Int);
  const Tensor score = empty({batch, height, width}, ScalarType::Float);
  const Tensor modes = empty({batch, max_modes, features.size(1)}, ScalarType::Float);
  const Tensor support = empty({batch, max_modes}, ScalarType::Int);
  const Tensor num_modes = empty({batch}, ScalarType::Int);
  problem.width = width;
  problem.settings = {bandwidth_deg, min_support, rounds, fast};
  problem.max_modes = max_modes;
  problem.labels = labels.mutable_data_ptr<int32_t>();
  problem.num_segments = num_segments.mutable_data_ptr<int32_t>();
  problem.score = score.mutable_data_ptr<float>();
  problem.modes = modes.mutable_data_ptr<float>();
  problem.support = support.mutable_data_ptr<int32_t>();
  problem.num_modes = num_modes.mutable_data_ptr<int32_t>();

  run<ClusterProblem>(BOTTOMUP_KERNELS(cluster), problem, features, kOp);
  return {labels, num_segments, score, modes, support, num_modes};
}

} // namespace

STABLE_TORCH_LIBRARY_IMPL(bottomup_fast, CPU, library) {
  library.impl("cluster", TORCH_BOX(&cluster));
}

#if BOTTOMUP_CUDA
STABLE_TORCH_LIBRARY_IMPL(bottomup_fast, CUDA, library) {
  library.impl("cluster", TORCH_BOX(&cluster));
}
#endif

} // namespace bottomup
