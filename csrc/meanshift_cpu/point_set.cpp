#include "meanshift_cpu/point_set.h"
#include "common/dispatch.h"

#include <cstring>
#include <type_traits>

namespace bottomup {
namespace {

constexpr float kShortest = 0.25f; // square of a length with which a point lies in no window

/// Copies pixels into the columns of a tile from `column` on, whole runs of neighbours at a time.
template <typename T>
BOTTOMUP_ALWAYS_INLINE void load_columns(const FeatureMaps &features, int64_t image,
                                         const int32_t *pixels, int64_t count, Row *tile,
                                         int64_t column) {
  const T *data = static_cast<const T *>(features.data) + image * features.batch_stride;
  for (int64_t begin = 0, end; begin < count; begin = end) {
    for (end = begin + 1; end < count && pixels[end] == pixels[end - 1] + 1;)
      ++end;
    const T *source = data + pixels[begin] * features.pixel_stride;
    for (int64_t d = 0; d < features.dimensions; ++d, source += features.channel_stride) {
      float *target = tile[d].pixel + column + begin;
      if constexpr (std::is_same_v<T, float>)
        if (features.pixel_stride == 1) {
          // Of so few numbers a loop of vectors would be mostly its end.
          std::memcpy(target, source, (end - begin) * sizeof(float));
          continue;
        }
      for (int64_t p = 0; p < end - begin; ++p)
        target[p] = to_float(source[p * features.pixel_stride]);
    }
  }
}

template <typename T> struct LoadColumns {
  template <int lanes>
  static BOTTOMUP_ALWAYS_INLINE void run(const FeatureMaps &features, int64_t image,
                                         const int32_t *pixels, int64_t count, Row *tile,
                                         int64_t column) {
    load_columns<T>(features, image, pixels, count, tile, column);
  }
};

/// Divides the columns by their norms, from `first` on; those without a line get no weight.
struct Normalise {
  template <int lanes>
  static BOTTOMUP_ALWAYS_INLINE bool run(int64_t dimensions, Row *tile, int64_t first,
                                         float *weights) {
    float inverse_norm[kTile], squares[kTile] = {};
    if (!inverse_norms(dimensions, tile, inverse_norm))
      return false;
    std::fill_n(inverse_norm, first, 1.0f); // columns of an earlier call
    for (int64_t d = 0; d < dimensions; ++d)
      for (int64_t p = 0; p < kTile; ++p) {
        tile[d].pixel[p] *= inverse_norm[p];
        squares[p] += tile[d].pixel[p] * tile[d].pixel[p];
      }
    for (int64_t p = 0; p < kTile; ++p)
      weights[p] = squares[p] < kShortest ? 0 : weights[p];
    return true;
  }
};

struct RoundRows {
  template <int lanes>
  static BOTTOMUP_ALWAYS_INLINE void run(int64_t dimensions, const Row *tile, PairRow *pairs) {
    round_rows(tile, dimensions, pair_rows(dimensions), pairs);
  }
};

} // namespace

bool PointSet::add(const FeatureMaps &features, int64_t image, std::span<const int32_t> pixels,
                   float weight, Simd simd) {
  const auto load = for_type<LoadColumns>(features.type, simd);
  const auto normalise = for_simd<Normalise>(simd);
  const auto round = for_simd<RoundRows>(simd);
  const int64_t total = count_ + static_cast<int64_t>(pixels.size());
  rows_.resize(ceil_div(total, kTile) * dimensions_);
  weights_.resize(ceil_div(total, kTile) * kTile);
  if (paired_)
    pairs_.resize(ceil_div(total, kTile) * pair_rows(dimensions_));
  std::fill(weights_.begin() + count_, weights_.begin() + total, weight);
  for (const int32_t *next = pixels.data(); count_ < total;) {
    const int64_t first = count_ % kTile;
    const int64_t count = std::min(kTile - first, total - count_);
    Row *target = tile(count_ / kTile);
    load(features, image, next, count, target, first);
    if (!normalise(dimensions_, target, first, weights_.data() + count_ / kTile * kTile))
      return false;
    if (paired_)
      round(dimensions_, target, pairs_.data() + count_ / kTile * pair_rows(dimensions_));
    next += count;
    count_ += count;
  }
  return true;
}

PointSet PointSet::some(std::span<const int32_t> chosen, float weight) const {
  PointSet result(dimensions_);
  result.count_ = static_cast<int64_t>(chosen.size());
  result.rows_.resize(result.tiles() * dimensions_);
  result.weights_.resize(result.tiles() * kTile);
  for (int64_t first = 0; first < result.count_; first += kTile) {
    const int64_t count = std::min(kTile, result.count_ - first);
    Row *to = result.tile(first / kTile);
    const float *from[kTile];
    for (int64_t p = 0; p < count; ++p)
      from[p] = tile(chosen[first + p] / kTile)->pixel + chosen[first + p] % kTile;
    for (int64_t d = 0; d < dimensions_; ++d)
      for (int64_t p = 0; p < count; ++p)
        to[d].pixel[p] = from[p][d * kTile];
    for (int64_t p = 0; p < count; ++p)
      result.weights_[first + p] = has_line(chosen[first + p]) ? weight : 0;
  }
  return result;
}

Lines PointSet::lines(std::span<const int32_t> points) const {
  Lines result(dimensions_, static_cast<int64_t>(points.size()));
  for (size_t i = 0; i < points.size(); ++i)
    copy(points[i], result.row(static_cast<int64_t>(i)));
  return result;
}

std::vector<int32_t> evenly_spaced(std::span<const int32_t> values, int64_t count) {
  const int64_t size = static_cast<int64_t>(values.size());
  if (size <= count)
    return {values.begin(), values.end()};
  std::vector<int32_t> chosen(count);
  for (int64_t i = 0; i < count; ++i)
    chosen[i] = values[(2 * i + 1) * size / (2 * count)];
  return chosen;
}

} // namespace bottomup
