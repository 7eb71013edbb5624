// A tile of pixels in shared memory as float32 rows of channels, whatever the features' type and
// strides.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

#include "common/feature_maps.h"
#include "meanshift_cuda/block.cuh"
#include "meanshift_cuda/tiling.h"

namespace bottomup {

inline constexpr int kChunkPixels = 64;
// Rows start 4 banks apart: neither reading 16 bytes of neighbouring rows nor writing a column of
// 16 channels meets a bank twice.
inline constexpr int kChunkStride = kTileChannels + 4;
inline constexpr int kThreadsOfPixel = kThreads / kChunkPixels;
inline constexpr float kShortestFeature = 1e-6f; // shorter ones are divided by it

/// Along what 16 bytes can be read at a time.
enum class Layout { pixels, channels, neither };

inline Layout layout_of(const FeatureMaps &features, int64_t bytes_of_number) {
  const auto aligned = [](int64_t bytes) { return bytes % 16 == 0; };
  const auto address = static_cast<int64_t>(reinterpret_cast<intptr_t>(features.data));
  const bool images_aligned =
      features.batch <= 1 || aligned(features.batch_stride * bytes_of_number);
  if (!aligned(address) || !images_aligned)
    return Layout::neither;
  if (features.pixel_stride == 1 && aligned(features.channel_stride * bytes_of_number))
    return Layout::pixels;
  if (features.channel_stride == 1 && aligned(features.pixel_stride * bytes_of_number))
    return Layout::channels;
  return Layout::neither;
}

/// Features as kernels read them.
struct FeatureSource {
  FeatureMaps maps;
  Layout layout;
};

/// Reads `width` channels, a multiple of 16, from `channel` on, of the pixels from `first` on;
/// what lies outside of the features is zero.
template <typename T>
__device__ void load_chunk(const FeatureSource &source, int64_t image, int64_t first, int channel,
                           int width, float *tile) {
  constexpr int numbers = 16 / sizeof(T);
  const FeatureMaps &maps = source.maps;
  const T *data = static_cast<const T *>(maps.data) + image * maps.batch_stride;
  const auto read = [&](int pixel, int c) {
    const bool inside = first + pixel < maps.pixels && channel + c < maps.dimensions;
    return inside ? to_float(data[(first + pixel) * maps.pixel_stride +
                                  (channel + c) * maps.channel_stride])
                  : 0.0f;
  };
  const auto read_many = [&](int pixel, int c) {
    return std::bit_cast<std::array<T, numbers>>(*reinterpret_cast<const uint4 *>(
        data + (first + pixel) * maps.pixel_stride + (channel + c) * maps.channel_stride));
  };
  if (source.layout == Layout::pixels) {
    // A warp reads whole sectors of 32 bytes of 16 channels.
    for (int i = thread(); i < kChunkPixels / numbers * width; i += kThreads) {
      const int c = i / 2 % width, pixel = (i / 2 / width * 2 + i % 2) * numbers;
      if (first + pixel + numbers <= maps.pixels && channel + c < maps.dimensions) {
        const std::array<T, numbers> values = read_many(pixel, c);
#pragma unroll
        for (int k = 0; k < numbers; ++k)
          tile[(pixel + k) * kChunkStride + c] = to_float(values[k]);
      } else {
        for (int k = 0; k < numbers; ++k)
          tile[(pixel + k) * kChunkStride + c] = read(pixel + k, c);
      }
    }
  } else if (source.layout == Layout::channels) {
    for (int i = thread(); i < kChunkPixels * width / numbers; i += kThreads) {
      const int c = i % (width / numbers) * numbers, pixel = i / (width / numbers);
      if (first + pixel < maps.pixels && channel + c + numbers <= maps.dimensions) {
        const std::array<T, numbers> values = read_many(pixel, c);
#pragma unroll
        for (int k = 0; k < numbers; ++k)
          tile[pixel * kChunkStride + c + k] = to_float(values[k]);
      } else {
        for (int k = 0; k < numbers; ++k)
          tile[pixel * kChunkStride + c + k] = read(pixel, c + k);
      }
    }
  } else {
    const bool along_pixels = maps.pixel_stride <= maps.channel_stride;
    for (int i = thread(); i < kChunkPixels * width; i += kThreads) {
      const int pixel = along_pixels ? i % kChunkPixels : i / width;
      const int c = along_pixels ? i / kChunkPixels : i % width;
      tile[pixel * kChunkStride + c] = read(pixel, c);
    }
  }
}

/// The squared length of a pixel's feature, kThreadsOfPixel threads adding up one.
class SquaredLength {
public:
  __device__ void add(const float *tile, int width) {
    const float *row = tile + thread() / kThreadsOfPixel * kChunkStride;
    for (int c = thread() % kThreadsOfPixel * 4; c < width; c += 4 * kThreadsOfPixel) {
      const float4 value = *reinterpret_cast<const float4 *>(row + c);
      for (const float number : {value.x, value.y, value.z, value.w}) {
        squares_ += number * number;
        const float small = number * kSmall;
        small_squares_ += small * small;
      }
    }
  }

  /// What turns the feature into a line: x = f * first * second. Not finite if the feature isn't.
  __device__ float2 scales() const {
    const float squares = sum(squares_), small_squares = sum(small_squares_);
    if (squares < kInfinity)
      return make_float2(1.0f, 1.0f / fmaxf(sqrtf(squares), kShortestFeature));
    // The square of a number far from the end of float32's range, or NaN.
    const float inverse = 1.0f / sqrtf(small_squares);
    return make_float2(kSmall, small_squares < kInfinity ? inverse : kInfinity);
  }

  /// Whether the line may be long enough to lie in a window: very short features give short ones.
  __device__ bool is_line() const {
    return !(sum(squares_) < kShortestFeature * kShortestFeature / 4);
  }

  static constexpr float kInfinity = __builtin_huge_valf();

private:
  static constexpr float kSmall = 0x1p-100f;

  __device__ static float sum(float value) {
#pragma unroll
    for (int distance = 1; distance < kThreadsOfPixel; distance *= 2)
      value += __shfl_xor_sync(kAllLanes, value, distance);
    return value;
  }

  float squares_ = 0, small_squares_ = 0;
};

} // namespace bottomup
