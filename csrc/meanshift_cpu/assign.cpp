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

/// The modes of every image in blocks of kModes, (B, blocks, D, kModes); missing ones are zero.
class PackedModes {
public:
  explicit PackedModes(const AssignProblem &problem)
      : dimensions_(problem.features.dimensions), blocks_(ceil_div(problem.max_modes, kModes)),
        values_(problem.features.batch * blocks_ * dimensions_ * kModes) {}

  float *block(int64_t image, int64_t block) {
    return values_.data() + (image * blocks_ + block) * dimensions_ * kModes;
  }

  Status pack(const AssignProblem &problem) {
    for (int64_t image = 0; image < problem.features.batch; ++image) {
      const int64_t count = problem.num_modes[image];
      if (count < 0 || count > problem.max_modes)
        return Status::num_modes_out_of_range;
      for (int64_t mode = 0; mode < count; ++mode) {
        const float *source = problem.modes + (image * problem.max_modes + mode) * dimensions_;
        float *target = block(image, mode / kModes) + mode % kModes;
        for (int64_t d = 0; d < dimensions_; ++d) {
          if (!std::isfinite(source[d]))
            return Status::non_finite_modes;
          target[d * kModes] = source[d];
        }
      }
    }
    return Status::ok;
  }

private:
  int64_t dimensions_, blocks_;
  std::vector<float> values_;
};

/// Assigns the tiles [begin, end), counted over all images. False if a feature is NaN or Inf.
template <typename T, int lanes>
BOTTOMUP_ALWAYS_INLINE bool assign_tiles(const AssignProblem &problem, PackedModes &modes,
                                         int64_t begin, int64_t end) {
  const int64_t tiles_per_image = ceil_div(problem.features.pixels, kTile);
  std::vector<Row> tile(problem.features.dimensions);
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
    for (int32_t mode = 0; mode < num_modes; mode += kModes) {
      float products[kModes][kTile];
      multiply<lanes>(problem.features.dimensions, tile.data(), modes.block(image, mode / kModes),
                      products);
      // The zero modes that fill up the last block are never larger.
      for (int32_t j = 0; j < kModes; ++j)
        for (int64_t p = 0; p < kTile; ++p) {
          const float product = std::abs(products[j][p]);
          nearest[p] = product > largest[p] ? mode + j : nearest[p];
          largest[p] = std::max(largest[p], product);
        }
    }

    const int64_t output = image * problem.features.pixels + first;
    for (int64_t p = 0; p < count; ++p) {
      problem.index[output + p] = nearest[p];
      problem.score[output + p] = std::min(largest[p] * inverse_norm[p], 1.0f);
    }
  }
  return true;
}

template <typename T> struct Assign {
  template <int lanes>
  static BOTTOMUP_ALWAYS_INLINE bool run(const AssignProblem &problem, PackedModes &modes,
                                         int64_t begin, int64_t end) {
    return assign_tiles<T, lanes>(problem, modes, begin, end);
  }
};

} // namespace

Status assign_cpu(const AssignProblem &problem, Simd simd, const ParallelFor &parallel_for) {
  PackedModes modes(problem);
  if (const Status status = modes.pack(problem); status != Status::ok)
    return status;
  const auto assign = for_type<Assign>(problem.features.type, simd);
  std::atomic<bool> finite = true;
  parallel_for(problem.features.batch * ceil_div(problem.features.pixels, kTile), kTilesPerRange,
               [&](int64_t begin, int64_t end) {
                 if (!assign(problem, modes, begin, end))
                   finite = false;
               });
  return finite ? Status::ok : Status::non_finite_features;
}

} // namespace bottomup
