#include "contracts/assign.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <vector>

#include "common/dispatch.h"
#include "meanshift_cpu/products.h"

namespace bottomup {
namespace {

constexpr int64_t kTilesPerRange = 4; // below that a thread costs more than it saves

/// Packs the modes of every image.
template <typename Products>
Status pack(const AssignProblem &problem, std::vector<typename Products::Matrix> &packed) {
  const int64_t dimensions = problem.features.dimensions;
  for (int64_t image = 0; image < problem.features.batch; ++image) {
    const int64_t count = problem.num_modes[image];
    if (count < 0 || count > problem.max_modes)
      return Status::num_modes_out_of_range;
    packed.push_back(Products::matrix(count, dimensions));
    for (int64_t mode = 0; mode < count; ++mode)
      for (int64_t d = 0; d < dimensions; ++d) {
        const float value = problem.modes[(image * problem.max_modes + mode) * dimensions + d];
        if (!std::isfinite(value))
          return Status::non_finite_modes;
        packed.back().set(mode, d, value);
      }
  }
  return Status::ok;
}

/// Assigns the tiles [begin, end), counted over all images. False if a feature is NaN or Inf.
template <typename T, typename Products, int lanes>
BOTTOMUP_ALWAYS_INLINE bool assign_tiles(const AssignProblem &problem,
                                         const std::vector<typename Products::Matrix> &modes,
                                         int64_t begin, int64_t end) {
  [[maybe_unused]] const typename Products::Session session;
  std::vector<PairRow> pairs; // if the products take them
  const int64_t tiles_per_image = ceil_div(problem.features.pixels, kTile);
  std::vector<Row> tile(std::max<int64_t>(problem.features.dimensions, 1));
  for (int64_t i = begin; i < end; ++i) {
    const int64_t image = i / tiles_per_image;
    const int64_t first = i % tiles_per_image * kTile;
    const int64_t count = std::min(kTile, problem.features.pixels - first);
    const int32_t num_modes = problem.num_modes[image];

    load_tile<T>(problem.features, image, first, count, tile.data());
    float inverse_norm[kTile];
    if (!inverse_norms(problem.features.dimensions, tile.data(), inverse_norm))
      return false;

    int32_t nearest[kTile];
    float largest[kTile] = {};
    std::fill_n(nearest, kTile, num_modes > 0 ? 0 : -1);
    const typename Products::Input *input =
        Products::prepare(problem.features.dimensions, tile, pairs);
    for (int32_t mode = 0; mode < num_modes; mode += Products::kLines) {
      float products[Products::kLines][kTile];
      Products::template multiply<lanes>(modes[image], mode, input, products);
      const int32_t lines = std::min<int32_t>(Products::kLines, num_modes - mode);
      Products::template nearest<lanes>(products, mode, lines, nearest, largest);
    }

    const int64_t output = image * problem.features.pixels + first;
    for (int64_t p = 0; p < count; ++p) {
      problem.index[output + p] = nearest[p];
      problem.score[output + p] = std::min(largest[p] * inverse_norm[p], 1.0f);
    }
  }
  return true;
}

template <typename T, typename Products> struct Assign {
  template <int lanes>
  static BOTTOMUP_ALWAYS_INLINE bool run(const AssignProblem &problem,
                                         const std::vector<typename Products::Matrix> &modes,
                                         int64_t begin, int64_t end) {
    return assign_tiles<T, Products, lanes>(problem, modes, begin, end);
  }
};

template <typename Products>
Status assign_by(const AssignProblem &problem, Simd simd, const ParallelFor &parallel_for) {
  std::vector<typename Products::Matrix> modes;
  if (const Status status = pack<Products>(problem, modes); status != Status::ok)
    return status;
  const auto assign = for_type<With<Assign, Products>::template Typed>(problem.features.type, simd);
  std::atomic<bool> finite = true;
  parallel_for(problem.features.batch * ceil_div(problem.features.pixels, kTile), kTilesPerRange,
               [&](int64_t begin, int64_t end) {
                 if (!assign(problem, modes, begin, end))
                   finite = false;
               });
  return finite ? Status::ok : Status::non_finite_features;
}

} // namespace

Status assign_cpu(const AssignProblem &problem, Simd simd, const ParallelFor &parallel_for) {
  return has_pairs(simd, problem.fast) ? assign_by<BFloat16Products>(problem, simd, parallel_for)
                                       : assign_by<Float32Products>(problem, simd, parallel_for);
}

} // namespace bottomup
