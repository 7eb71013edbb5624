// The number formats features come in, and how each is read as float32.
#pragma once

#include <bit>
#include <cstdint>

#include "common/host_device.h"

namespace bottomup {

enum class DataType { float32, float64, float16, bfloat16 };

struct Float16 {
  uint16_t bits;
};

struct BFloat16 {
  uint16_t bits;
};

BOTTOMUP_HOST_DEVICE inline float to_float(float value) { return value; }

BOTTOMUP_HOST_DEVICE inline float to_float(double value) { return static_cast<float>(value); }

BOTTOMUP_HOST_DEVICE inline float to_float(BFloat16 value) {
  return std::bit_cast<float>(static_cast<uint32_t>(value.bits) << 16);
}

// Without branches, so that loops over it vectorise: the bits of the magnitude, read as float32,
// are the value times 2^-112, subnormals included; only Inf and NaN need their exponent set.
BOTTOMUP_HOST_DEVICE inline float to_float(Float16 value) {
  const uint32_t magnitude = value.bits & 0x7fffu;
  const float finite = std::bit_cast<float>(magnitude << 13) * 0x1p112f;
  const uint32_t special = magnitude >= 0x7c00u ? 0x7f800000u : 0u;
  const uint32_t sign = static_cast<uint32_t>(value.bits & 0x8000u) << 16;
  return std::bit_cast<float>(std::bit_cast<uint32_t>(finite) | special | sign);
}

template <typename T> BOTTOMUP_HOST_DEVICE T from_float(float value) {
  return static_cast<T>(value);
}

// To the nearest, ties to even.
template <> BOTTOMUP_HOST_DEVICE inline BFloat16 from_float(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
  return {static_cast<uint16_t>(value == value ? rounded : (bits >> 16) | 0x40u)};
}

// Subnormals by a sum with 0.5, whose last bit is theirs.
template <> BOTTOMUP_HOST_DEVICE inline Float16 from_float(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value), magnitude = bits & 0x7fffffffu;
  const uint32_t normal = (magnitude + 0xfffu + (magnitude >> 13 & 1) - 0x38000000u) >> 13;
  const uint32_t subnormal =
      std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3f000000u;
  const uint32_t special = magnitude > 0x7f800000u ? 0x7e00u : 0x7c00u;
  const uint32_t result = magnitude < 0x38800000u   ? subnormal
                          : magnitude < 0x477ff000u ? normal
                                                    : special;
  return {static_cast<uint16_t>((bits >> 16 & 0x8000u) | result)};
}

/// Calls `work` with a number of the type.
template <typename Work> void with_type(DataType type, const Work &work) {
  switch (type) {
  case DataType::float32:
    return work(float{});
  case DataType::float64:
    return work(double{});
  case DataType::float16:
    return work(Float16{});
  case DataType::bfloat16:
    return work(BFloat16{});
  }
}

} // namespace bottomup
