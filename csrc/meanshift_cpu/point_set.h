// A subset of pixels, copied and normalised, on which modes are sought.
#pragma once

#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

#include "common/simd.h"
#include "meanshift_cpu/lines.h"

namespace bottomup {

/// Unit lines in tiles of kTile, each standing for `weights` pixels.
class PointSet {
public:
  /// `paired`: for BFloat16Products, too.
  explicit PointSet(int64_t dimensions, bool paired = false)
      : dimensions_(dimensions), paired_(paired) {}

  /// Adds pixels of an image; false if a feature is NaN or Inf.
  bool add(const FeatureMaps &features, int64_t image, std::span<const int32_t> pixels,
           float weight, Simd simd);

  /// Some of the points, each standing for `weight` pixels.
  PointSet some(std::span<const int32_t> chosen, float weight) const;

  int64_t dimensions() const { return dimensions_; }
  int64_t count() const { return count_; }
  int64_t tiles() const { return ceil_div(count_, kTile); }
  Row *tile(int64_t i) { return rows_.data() + i * dimensions_; }
  const Row *tile(int64_t i) const { return rows_.data() + i * dimensions_; }
  /// (kTile) of a tile; zero where it has no point, or one without a line.
  const float *weights(int64_t tile) const { return weights_.data() + tile * kTile; }

  /// A tile as products take it.
  template <typename Products> const typename Products::Input *input(int64_t i) const {
    if constexpr (std::is_same_v<typename Products::Input, Row>)
      return tile(i);
    else
      return pairs_.data() + i * pair_rows(dimensions_);
  }
  bool paired() const { return paired_; }

  bool has_line(int64_t point) const { return weights_[point] > 0; }

  void copy(int64_t point, float *line) const {
    for (int64_t d = 0; d < dimensions_; ++d)
      line[d] = tile(point / kTile)[d].pixel[point % kTile];
  }

  /// Some of the points, one a row.
  Lines lines(std::span<const int32_t> points) const;

private:
  int64_t dimensions_, count_ = 0;
  bool paired_;
  std::vector<Row> rows_;
  std::vector<PairRow> pairs_; // if paired
  std::vector<float> weights_;
};

/// Rows of (count, D) as features.
inline FeatureMaps as_features(const Lines &lines) {
  const int64_t size = static_cast<int64_t>(lines.values.size());
  return {1, lines.dimensions, lines.count(), lines.values.data(), DataType::float32, size,
          1, lines.dimensions};
}

/// At most `count` of the values at equal distances.
std::vector<int32_t> evenly_spaced(std::span<const int32_t> values, int64_t count);

} // namespace bottomup
