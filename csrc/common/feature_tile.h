// A tile of pixels as float32 rows of channels, whatever the type and strides of the features.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "common/feature_maps.h"
#include "common/simd.h"
#include "common/streaming_store.h"

namespace bottomup {

inline constexpr int64_t kTile = 64; // pixels loaded at a time: at D = 128 they fill an L1 cache
inline constexpr int64_t kTilesAhead = 2; // on their way from memory to the L2 cache
inline constexpr size_t kCacheLine = 64;  // bytes
inline constexpr float kMinNorm = 1e-6f;

/// One channel of the pixels of a tile.
struct alignas(64) Row {
  float pixel[kTile];
};

inline int64_t ceil_div(int64_t count, int64_t size) { return (count + size - 1) / size; }

/// Brings memory that will be read soon to the L2 cache.
BOTTOMUP_ALWAYS_INLINE void prefetch(const void *memory, size_t bytes) {
  for (size_t line = 0; line < bytes; line += kCacheLine)
    __builtin_prefetch(static_cast<const char *>(memory) + line, 0, 2);
}

/// Fills the tile with `count` pixels of an image from `first` on; the rest of it keeps the finite
/// numbers it had.
template <typename T>
BOTTOMUP_ALWAYS_INLINE void load_tile(const FeatureMaps &features, int64_t image, int64_t first,
                                      int64_t count, Row *tile) {
  const T *source = static_cast<const T *>(features.data) + image * features.batch_stride +
                    first * features.pixel_stride;
  if (count == kTile && features.pixel_stride == 1) {
    for (int64_t d = 0; d < features.dimensions; ++d) {
      const T *row = source + d * features.channel_stride;
      // So many rows at once are more than processors foresee.
      prefetch(row + kTilesAhead * kTile, sizeof(T[kTile]));
      for (int64_t p = 0; p < kTile; ++p)
        tile[d].pixel[p] = to_float(row[p]);
    }
    return;
  }
  for (int64_t p = 0; p < count; ++p)
    for (int64_t d = 0; d < features.dimensions; ++d)
      tile[d].pixel[p] = to_float(source[d * features.channel_stride + p * features.pixel_stride]);
}

/// Writes `count` pixels of the tile to `target`, of the same type and strides as the features;
/// past the caches, where that is possible, if it `streams`.
template <typename T>
BOTTOMUP_ALWAYS_INLINE void store_tile(const FeatureMaps &features, void *target, int64_t image,
                                       int64_t first, int64_t count, const Row *tile,
                                       bool streams) {
  T *values =
      static_cast<T *>(target) + image * features.batch_stride + first * features.pixel_stride;
  if (count == kTile && features.pixel_stride == 1) {
    for (int64_t d = 0; d < features.dimensions; ++d) {
      T *channel = values + d * features.channel_stride;
      if (streams && reinterpret_cast<uintptr_t>(channel) % kCacheLine == 0) {
        alignas(kCacheLine) T row[kTile];
        for (int64_t p = 0; p < kTile; ++p)
          row[p] = from_float<T>(tile[d].pixel[p]);
        stream(row, channel, sizeof(row));
      } else {
        for (int64_t p = 0; p < kTile; ++p)
          channel[p] = from_float<T>(tile[d].pixel[p]);
      }
    }
    return;
  }
  for (int64_t p = 0; p < count; ++p)
    for (int64_t d = 0; d < features.dimensions; ++d)
      values[d * features.channel_stride + p * features.pixel_stride] =
          from_float<T>(tile[d].pixel[p]);
}

/// squares[p] = |f_p|^2.
BOTTOMUP_ALWAYS_INLINE void squared_lengths(int64_t dimensions, const Row *tile, float *squares) {
  std::fill_n(squares, kTile, 0.0f);
  for (int64_t d = 0; d < dimensions; ++d)
    for (int64_t p = 0; p < kTile; ++p)
      squares[p] += tile[d].pixel[p] * tile[d].pixel[p];
}

/// lengths[p] = |f_p|; false if one of the first `count` is not finite.
BOTTOMUP_ALWAYS_INLINE bool lengths_of(int64_t dimensions, const Row *tile, int64_t count,
                                       float *lengths) {
  float squares[kTile];
  squared_lengths(dimensions, tile, squares);
  bool finite = true;
  for (int64_t p = 0; p < kTile; ++p) {
    finite &= p >= count || squares[p] <= std::numeric_limits<float>::max();
    lengths[p] = std::sqrt(squares[p]);
  }
  return finite;
}

/// Pixels whose squares overflow float32 are scaled by a power of two, which turns no line. False
/// if a feature is NaN or Inf.
inline bool rescale_overflowing(int64_t dimensions, Row *tile, float *inverse_norm) {
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
  float squares[kTile];
  squared_lengths(dimensions, tile, squares);
  int32_t in_range = 1;
  for (int64_t p = 0; p < kTile; ++p) {
    inverse_norm[p] = 1 / std::max(std::sqrt(squares[p]), kMinNorm);
    in_range &= inverse_norm[p] > 0; // 0 from an infinite sum, NaN from NaN
  }
  return in_range || rescale_overflowing(dimensions, tile, inverse_norm);
}

} // namespace bottomup
