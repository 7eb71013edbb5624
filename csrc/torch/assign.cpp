// The op bottomup_fast::assign on CPU tensors: checks, strides, allocation, threads.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <stdexcept>
#include <string>
#include <tuple>

#include "contracts/assign.h"

namespace bottomup {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// A plain exception: the stable ABI's own check adds the source file to the message.
void check(bool condition, const char *message) {
  if (!condition)
    throw std::runtime_error(std::string("assign: ") + message);
}

DataType data_type(const Tensor &features) {
  switch (features.scalar_type()) {
  case ScalarType::Float:
    return DataType::float32;
  case ScalarType::Double:
    return DataType::float64;
  case ScalarType::Half:
    return DataType::float16;
  case ScalarType::BFloat16:
    return DataType::bfloat16;
  default:
    throw std::runtime_error("assign: features must be float32, float64, float16 or bfloat16");
  }
}

/// The stride of rows and columns walked as one axis of pixels; -1 if there is none.
int64_t pixel_stride(const Tensor &features) {
  const int64_t height = features.size(2), width = features.size(3);
  if (width == 1)
    return features.stride(2);
  if (height == 1 || features.stride(2) == width * features.stride(3))
    return features.stride(3);
  return -1;
}

std::tuple<Tensor, Tensor> assign(Tensor features, Tensor modes, Tensor num_modes) {
  check(features.dim() == 4, "features must have shape (B, D, H, W)");
  const int64_t batch = features.size(0);
  check(modes.dim() == 3 && modes.size(0) == batch && modes.size(2) == features.size(1),
        "modes must have shape (B, M, D) with the B and D of features");
  check(num_modes.dim() == 1 && num_modes.size(0) == batch,
        "num_modes must have shape (B,) with the B of features");
  check(modes.scalar_type() == ScalarType::Float, "modes must be float32");
  check(num_modes.scalar_type() == ScalarType::Int, "num_modes must be int32");
  check(features.is_cpu() && modes.is_cpu() && num_modes.is_cpu(), "tensors must be on the CPU");

  if (pixel_stride(features) < 0)
    features = torch::stable::contiguous(features);
  modes = torch::stable::contiguous(modes);
  num_modes = torch::stable::contiguous(num_modes);
  const auto shape = {batch, features.size(2), features.size(3)};
  const Tensor index = torch::stable::new_empty(features, shape, ScalarType::Int);
  const Tensor score = torch::stable::new_empty(features, shape, ScalarType::Float);

  AssignProblem problem{};
  problem.batch = batch;
  problem.dimensions = features.size(1);
  problem.pixels = features.size(2) * features.size(3);
  problem.max_modes = modes.size(1);
  problem.features = features.const_data_ptr();
  problem.feature_type = data_type(features);
  problem.batch_stride = features.stride(0);
  problem.channel_stride = features.stride(1);
  problem.pixel_stride = pixel_stride(features);
  problem.modes = modes.const_data_ptr<float>();
  problem.num_modes = num_modes.const_data_ptr<int32_t>();
  problem.index = index.mutable_data_ptr<int32_t>();
  problem.score = score.mutable_data_ptr<float>();

  const Status status =
      assign_cpu(problem, selected_simd(), [](int64_t count, int64_t grain, const RangeBody &body) {
        torch::stable::parallel_for(0, count, grain, body);
      });
  check(status == Status::ok, message(status));
  return {index, score};
}

} // namespace

STABLE_TORCH_LIBRARY_IMPL(bottomup_fast, CPU, library) {
  library.impl("assign", TORCH_BOX(&assign));
}

} // namespace bottomup
