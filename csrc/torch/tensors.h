// From torch's tensors to what kernels take.
#pragma once

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <stdexcept>
#include <string>

#include "common/feature_maps.h"
#include "common/parallel.h"

namespace bottomup {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

/// Throws "op: message". A plain exception: the stable ABI's own check adds the source file.
inline void check(bool condition, const char *op, const std::string &message) {
  if (!condition)
    throw std::runtime_error(std::string(op) + ": " + message);
}

inline DataType data_type(const Tensor &features, const char *op,
                          const std::string &name = "features") {
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
    check(false, op, name + " must be float32, float64, float16 or bfloat16");
    return DataType::float32;
  }
}

/// The stride of rows and columns walked as one axis of pixels; -1 if there is none.
inline int64_t pixel_stride(const Tensor &features) {
  const int64_t height = features.size(2), width = features.size(3);
  if (width == 1)
    return features.stride(2);
  if (height == 1 || features.stride(2) == width * features.stride(3))
    return features.stride(3);
  return -1;
}

/// Throws unless `tensor` is where `other`, an op's first tensor, is.
inline void check_device(const Tensor &tensor, const std::string &name, const Tensor &other,
                         const char *op) {
  check(tensor.device() == other.device(), op, name + " must be on the device of the first tensor");
}

/// Views (B, D, H, W) features as maps; copies them only if rows and columns are not one axis in
/// memory, into `features` itself, which must outlive the maps.
inline FeatureMaps feature_maps(Tensor &features, const char *op) {
  check(features.dim() == 4, op, "features must have shape (B, D, H, W)");
  if (pixel_stride(features) < 0)
    features = torch::stable::contiguous(features);
  FeatureMaps maps{};
  maps.batch = features.size(0);
  maps.dimensions = features.size(1);
  maps.pixels = features.size(2) * features.size(3);
  maps.data = features.const_data_ptr();
  maps.type = data_type(features, op);
  maps.batch_stride = features.stride(0);
  maps.channel_stride = features.stride(1);
  maps.pixel_stride = pixel_stride(features);
  return maps;
}

/// Views (B, N, D) points, of any strides, as maps.
inline FeatureMaps point_maps(const Tensor &points, const char *op, const std::string &name) {
  check(points.dim() == 3, op, name + " must have shape (B, N, D)");
  check(points.size(2) >= 1, op, name + " must have at least one dimension");
  FeatureMaps maps{};
  maps.batch = points.size(0);
  maps.dimensions = points.size(2);
  maps.pixels = points.size(1);
  maps.data = points.const_data_ptr();
  maps.type = data_type(points, op, name);
  maps.batch_stride = points.stride(0);
  maps.channel_stride = points.stride(2);
  maps.pixel_stride = points.stride(1);
  return maps;
}

inline void check_window(double bandwidth_deg, int64_t min_support, const char *op) {
  check(bandwidth_deg > 0 && bandwidth_deg <= 45, op, "bandwidth_deg must be in (0, 45]");
  check(min_support >= 1, op, "min_support must be at least 1");
}

/// torch's own threads.
inline void torch_parallel_for(int64_t count, int64_t grain, const RangeBody &body) {
  torch::stable::parallel_for(0, count, grain, body);
}

} // namespace bottomup
