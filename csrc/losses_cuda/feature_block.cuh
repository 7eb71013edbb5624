// How kernels read and write features: blocks of four channels of four pixels, in as wide accesses
// as the layout allows.
#pragma once

#include <bit>
#include <cstdint>
#include <type_traits>

#include "common/data_type.h"
#include "common/feature_maps.h"
#include "common/ptx.h"

namespace bottomup {

inline constexpr float kMinNorm = 1e-6f; // x = f / max(|f|, 1e-6)
inline constexpr float kLargest = 3.402823466e38f;

/// What four neighbours in memory are: nothing useful, pixels of a channel, or channels of a pixel.
enum class Access { scalar, along_pixels, along_channels };

/// The widest access to maps of rows of `width` pixels. Quads of pixels start at multiples of four
/// of a row.
inline Access access_of(const FeatureMaps &maps, int64_t width) {
  const int64_t size = maps.type == DataType::float32 ? 4 : 2;
  const bool aligned = maps.type != DataType::float64 && maps.batch_stride % 4 == 0 &&
                       reinterpret_cast<uintptr_t>(maps.data) % (4 * size) == 0;
  if (aligned && maps.pixel_stride == 1 && maps.channel_stride % 4 == 0 && width % 4 == 0)
    return Access::along_pixels;
  if (aligned && maps.dimensions > 0 && maps.channel_stride == 1 && maps.pixel_stride % 4 == 0 &&
      maps.dimensions % 4 == 0)
    return Access::along_channels;
  return Access::scalar;
}

/// The number of 16 bits; what converts on the processor takes many instructions of a GPU.
template <typename T> __device__ __forceinline__ float number_of(uint32_t bits) {
  const auto half = static_cast<uint16_t>(bits);
  if constexpr (std::is_same_v<T, Float16>)
    return float_of_float16(half);
  else
    return to_float(T{half});
}

template <typename T>
__device__ __forceinline__ void load_four(const T *source, float (&value)[4]) {
  if constexpr (sizeof(T) == 4) {
    const float4 four = *reinterpret_cast<const float4 *>(source);
    value[0] = four.x, value[1] = four.y, value[2] = four.z, value[3] = four.w;
  } else if constexpr (sizeof(T) == 2) {
    const uint2 four = *reinterpret_cast<const uint2 *>(source);
    value[0] = number_of<T>(four.x);
    value[1] = number_of<T>(four.x >> 16);
    value[2] = number_of<T>(four.y);
    value[3] = number_of<T>(four.y >> 16);
  } else {
    for (int i = 0; i < 4; ++i)
      value[i] = to_float(source[i]);
  }
}

template <typename T>
__device__ __forceinline__ void store_four(T *target, const float (&value)[4]) {
  if constexpr (sizeof(T) == 4) {
    *reinterpret_cast<float4 *>(target) = make_float4(value[0], value[1], value[2], value[3]);
  } else if constexpr (sizeof(T) == 2) {
    uint32_t bits[4];
#pragma unroll
    for (int i = 0; i < 4; ++i)
      bits[i] = from_float<T>(value[i]).bits;
    *reinterpret_cast<uint2 *>(target) =
        make_uint2(bits[0] | bits[1] << 16, bits[2] | bits[3] << 16);
  } else {
    for (int i = 0; i < 4; ++i)
      target[i] = from_float<T>(value[i]);
  }
}

/// Four pixels that a thread works on; only those below `count` exist, and where they are
/// `together` they follow one another and all exist.
struct PixelQuad {
  int32_t pixel[4];
  bool exists[4];
  bool together;
};

/// block[c][p] = channel `channel` + c of pixel p of an image; zero where there is none.
template <typename T>
__device__ __forceinline__ void load_block(const FeatureMaps &maps, Access access, const T *image,
                                           const PixelQuad &quad, int channel,
                                           float (&block)[4][4]) {
  if (access == Access::along_pixels && quad.together) {
    const T *source = image + channel * maps.channel_stride + quad.pixel[0];
#pragma unroll
    for (int c = 0; c < 4; ++c)
      if (channel + c < maps.dimensions)
        load_four(source + c * maps.channel_stride, block[c]);
      else
        block[c][0] = block[c][1] = block[c][2] = block[c][3] = 0;
  } else if (access == Access::along_channels) {
#pragma unroll
    for (int p = 0; p < 4; ++p) {
      float channels[4] = {};
      if (quad.exists[p])
        load_four(image + quad.pixel[p] * maps.pixel_stride + channel, channels);
#pragma unroll
      for (int c = 0; c < 4; ++c)
        block[c][p] = channels[c];
    }
  } else {
    const int channels = static_cast<int>(maps.dimensions) - channel;
#pragma unroll
    for (int p = 0; p < 4; ++p) {
      const T *source = image + channel * maps.channel_stride + quad.pixel[p] * maps.pixel_stride;
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        block[c][p] = quad.exists[p] && c < channels ? to_float(*source) : 0.0f;
        source += maps.channel_stride;
      }
    }
  }
}

template <typename T>
__device__ __forceinline__ void store_block(const FeatureMaps &maps, Access access, T *image,
                                            const PixelQuad &quad, int channel,
                                            const float (&block)[4][4]) {
  if (access == Access::along_pixels && quad.together) {
    T *target = image + channel * maps.channel_stride + quad.pixel[0];
#pragma unroll
    for (int c = 0; c < 4; ++c)
      if (channel + c < maps.dimensions)
        store_four(target + c * maps.channel_stride, block[c]);
  } else if (access == Access::along_channels) {
#pragma unroll
    for (int p = 0; p < 4; ++p) {
      const float channels[4] = {block[0][p], block[1][p], block[2][p], block[3][p]};
      if (quad.exists[p])
        store_four(image + quad.pixel[p] * maps.pixel_stride + channel, channels);
    }
  } else {
#pragma unroll
    for (int c = 0; c < 4; ++c)
#pragma unroll
      for (int p = 0; p < 4; ++p)
        if (quad.exists[p] && channel + c < maps.dimensions)
          image[(channel + c) * maps.channel_stride + quad.pixel[p] * maps.pixel_stride] =
              from_float<T>(block[c][p]);
  }
}

} // namespace bottomup
