#include "contracts/assign.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <vector>

namespace bottomup {
namespace {

constexpr int64_t kTile = 64;         // pixels loaded at a time: at D = 128 they fill an L1 cache
constexpr int64_t kModes = 6;         // modes multiplied at a time: with two vectors of pixels the
                                      // sums fit the 16 registers of SSE and AVX2
constexpr int64_t kTilesPerRange = 4; // below that a thread costs more than it saves
constexpr float kMinNorm = 1e-6f;

/// One channel of the pixels of a tile.
struct alignas(64) Row {
  float pixel[kTile];
};

int64_t ceil_div(int64_t count, int64_t size) { return (count + size - 1) / size; }

/// The modes of every image in blocks of kModes, (B, blocks, D, kModes); missing ones are zero.
class PackedModes {
public:
  explicit PackedModes(const AssignProblem &problem)
      : dimensions_(problem.dimensions), blocks_(ceil_div(problem.max_modes, kModes)),
        values_(problem.batch * blocks_ * dimensions_ * kModes) {}

  float *block(int64_t image, int64_t block) {
    return values_.data() + (image * blocks_ + block) * dimensions_ * kModes;
  }

  Status pack(const AssignProblem &problem) {
    for (int64_t image = 0; image < problem.batch; ++image) {
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

/// Fills the tile from `count` pixels starting at `source`; the rest of it keeps finite numbers.
template <typename T>
BOTTOMUP_ALWAYS_INLINE void load_tile(const AssignProblem &problem, const T *source, int64_t count,
                                      Row *tile) {
  if (count == kTile && problem.pixel_stride == 1) {
    for (int64_t d = 0; d < problem.dimensions; ++d)
      for (int64_t p = 0; p < kTile; ++p)
        tile[d].pixel[p] = to_float(source[d * problem.channel_stride + p]);
    return;
  }
  for (int64_t p = 0; p < count; ++p)
    for (int64_t d = 0; d < problem.dimensions; ++d)
      tile[d].pixel[p] = to_float(source[d * problem.channel_stride + p * problem.pixel_stride]);
}

/// Pixels whose squares overflow float32 are scaled by a power of two, which turns no line. False
/// if a feature is NaN or Inf.
bool rescale_overflowing(int64_t dimensions, Row *tile, float *inverse_norm) {
  for (int64_t p = 0; p < kTile; ++p) {
    if (inverse_norm[p] > 0)
      continue;
    double squares = 0;
    for (int64_t d = 0; d < dimensions; ++d) {
      squares += static_cast<double>(tile[d].pixel[p]) * tile[d].pixel[p];
      tile[d].pixel[p] *= 0x1p-64f;
    }
    if (!std::isfinite(squares))
      return false;
    inverse_norm[p] = static_cast<float>(0x1p64 / std::sqrt(squares));
  }
  return true;
}

/// inverse_norm[p] = 1 / max(|f_p|, 1e-6). False if a feature is NaN or Inf.
BOTTOMUP_ALWAYS_INLINE bool inverse_norms(int64_t dimensions, Row *tile, float *inverse_norm) {
  float squares[kTile] = {};
  for (int64_t d = 0; d < dimensions; ++d)
    for (int64_t p = 0; p < kTile; ++p)
      squares[p] += tile[d].pixel[p] * tile[d].pixel[p];
  bool in_range = true;
  for (int64_t p = 0; p < kTile; ++p) {
    inverse_norm[p] = 1 / std::max(std::sqrt(squares[p]), kMinNorm);
    in_range &= inverse_norm[p] > 0; // 0 from an infinite sum, NaN from NaN
  }
  return in_range || rescale_overflowing(dimensions, tile, inverse_norm);
}

/// products[j][p] = m_j . f_p, two vectors of `lanes` pixels at a time, the sums in registers.
template <int lanes>
BOTTOMUP_ALWAYS_INLINE void multiply(int64_t dimensions, const Row *tile, const float *modes,
                                     float (*products)[kTile]) {
  constexpr int pixels = 2 * lanes;
  for (int64_t first = 0; first < kTile; first += pixels) {
    float sums[kModes][pixels] = {};
    for (int64_t d = 0; d < dimensions; ++d) {
      BOTTOMUP_UNROLL
      for (int64_t j = 0; j < kModes; ++j)
        for (int64_t p = 0; p < pixels; ++p)
          sums[j][p] += modes[d * kModes + j] * tile[d].pixel[first + p];
    }
    for (int64_t j = 0; j < kModes; ++j)
      std::copy_n(sums[j], pixels, products[j] + first);
  }
}

/// Assigns the tiles [begin, end), counted over all images. False if a feature is NaN or Inf.
template <typename T, int lanes>
BOTTOMUP_ALWAYS_INLINE bool assign_tiles(const AssignProblem &problem, PackedModes &modes,
                                         int64_t begin, int64_t end) {
  const int64_t tiles_per_image = ceil_div(problem.pixels, kTile);
  std::vector<Row> tile(problem.dimensions);
  for (int64_t i = begin; i < end; ++i) {
    const int64_t image = i / tiles_per_image;
    const int64_t first = i % tiles_per_image * kTile;
    const int64_t count = std::min(kTile, problem.pixels - first);
    const int32_t num_modes = problem.num_modes[image];

    load_tile(problem,
              static_cast<const T *>(problem.features) + image * problem.batch_stride +
                  first * problem.pixel_stride,
              count, tile.data());
    float inverse_norm[kTile];
    if (!inverse_norms(problem.dimensions, tile.data(), inverse_norm))
      return false;

    int32_t nearest[kTile];
    float largest[kTile] = {};
    std::fill_n(nearest, kTile, num_modes > 0 ? 0 : -1);
    for (int32_t mode = 0; mode < num_modes; mode += kModes) {
      float products[kModes][kTile];
      multiply<lanes>(problem.dimensions, tile.data(), modes.block(image, mode / kModes), products);
      // The zero modes that fill up the last block are never larger.
      for (int32_t j = 0; j < kModes; ++j)
        for (int64_t p = 0; p < kTile; ++p) {
          const float product = std::abs(products[j][p]);
          nearest[p] = product > largest[p] ? mode + j : nearest[p];
          largest[p] = std::max(largest[p], product);
        }
    }

    const int64_t output = image * problem.pixels + first;
    for (int64_t p = 0; p < count; ++p) {
      problem.index[output + p] = nearest[p];
      problem.score[output + p] = std::min(largest[p] * inverse_norm[p], 1.0f);
    }
  }
  return true;
}

using AssignTiles = bool (*)(const AssignProblem &, PackedModes &, int64_t begin, int64_t end);

template <typename T>
bool assign_portable(const AssignProblem &problem, PackedModes &modes, int64_t begin, int64_t end) {
  return assign_tiles<T, 4>(problem, modes, begin, end);
}

#if defined(__x86_64__)
template <typename T>
BOTTOMUP_TARGET_AVX2 bool assign_avx2(const AssignProblem &problem, PackedModes &modes,
                                      int64_t begin, int64_t end) {
  return assign_tiles<T, 8>(problem, modes, begin, end);
}

template <typename T>
BOTTOMUP_TARGET_AVX512 bool assign_avx512(const AssignProblem &problem, PackedModes &modes,
                                          int64_t begin, int64_t end) {
  return assign_tiles<T, 16>(problem, modes, begin, end);
}
#endif

template <typename T> AssignTiles for_simd(Simd simd) {
#if defined(__x86_64__)
  if (simd == Simd::avx512)
    return assign_avx512<T>;
  if (simd == Simd::avx2)
    return assign_avx2<T>;
#endif
  (void)simd;
  return assign_portable<T>;
}

AssignTiles for_type(DataType type, Simd simd) {
  switch (type) {
  case DataType::float64:
    return for_simd<double>(simd);
  case DataType::float16:
    return for_simd<Float16>(simd);
  case DataType::bfloat16:
    return for_simd<BFloat16>(simd);
  case DataType::float32:
    break;
  }
  return for_simd<float>(simd);
}

} // namespace

Status assign_cpu(const AssignProblem &problem, Simd simd, const ParallelFor &parallel_for) {
  PackedModes modes(problem);
  if (const Status status = modes.pack(problem); status != Status::ok)
    return status;
  const AssignTiles assign = for_type(problem.feature_type, simd);
  std::atomic<bool> finite = true;
  parallel_for(problem.batch * ceil_div(problem.pixels, kTile), kTilesPerRange,
               [&](int64_t begin, int64_t end) {
                 if (!assign(problem, modes, begin, end))
                   finite = false;
               });
  return finite ? Status::ok : Status::non_finite_features;
}

} // namespace bottomup
