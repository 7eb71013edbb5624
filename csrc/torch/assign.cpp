// The op bottomup_fast::assign: checks, strides, allocation.
#include <torch/csrc/stable/library.h>

#include <tuple>

#include "contracts/assign.h"
#include "torch/run.h"

namespace bottomup {
namespace {

constexpr const char *kOp = "assign";

std::tuple<Tensor, Tensor> assign(Tensor features, Tensor modes, Tensor num_modes, bool fast) {
  const FeatureMaps maps = feature_maps(features, kOp);
  const int64_t batch = maps.batch;
  check(modes.dim() == 3 && modes.size(0) == batch && modes.size(2) == maps.dimensions, kOp,
        "modes must have shape (B, M, D) with the B and D of features");
  check(num_modes.dim() == 1 && num_modes.size(0) == batch, kOp,
        "num_modes must have shape (B,) with the B of features");
  check(modes.scalar_type() == ScalarType::Float, kOp, "modes must be float32");
  check(num_modes.scalar_type() == ScalarType::Int, kOp, "num_modes must be int32");
  check_device(modes, "modes", features, kOp);
  check_device(num_modes, "num_modes", features, kOp);
  modes = torch::stable::contiguous(modes);
  num_modes = torch::stable::contiguous(num_modes);
  const auto shape = {batch, features.size(2), features.size(3)};
  const Tensor index = torch::stable::new_empty(features, shape, ScalarType::Int);
  const Tensor score = torch::stable::new_empty(features, shape, ScalarType::Float);

  AssignProblem problem{};
  problem.features = maps;
  problem.max_modes = modes.size(1);
  problem.modes = modes.const_data_ptr<float>();
  problem.num_modes = num_modes.const_data_ptr<int32_t>();
  problem.fast = fast;
  problem.index = index.mutable_data_ptr<int32_t>();
  problem.score = score.mutable_data_ptr<float>();

  run<AssignProblem>(BOTTOMUP_KERNELS(assign), problem, features, kOp);
  return {index, score};
}

} // namespace

STABLE_TORCH_LIBRARY_IMPL(bottomup_fast, CPU, library) {
  library.impl("assign", TORCH_BOX(&assign));
}

#if BOTTOMUP_CUDA
STABLE_TORCH_LIBRARY_IMPL(bottomup_fast, CUDA, library) {
  library.impl("assign", TORCH_BOX(&assign));
}
#endif

} // namespace bottomup
