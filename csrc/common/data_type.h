// The number formats features come in, and how each is read as float32.
#pragma once

#include <bit>
#include <cstdint>

namespace bottomup {

enum class DataType { float32, float64, float16, bfloat16 };

struct Float16 {
  uint16_t bits;
};

struct BFloat16 {
  uint16_t bits;
};

inline float to_float(float value) { return value; }

inline float to_float(double value) { return static_cast<float>(value); }

inline float to_float(BFloat16 value) {
  return std::bit_cast<float>(static_cast<uint32_t>(value.bits) << 16);
}

// Without branches, so that loops over it vectorise: the bits of the magnitude, read as float32,
// are the value times 2^-112, subnormals included; only Inf and NaN need their exponent set.
inline float to_float(Float16 value) {
  const uint32_t magnitude = value.bits & 0x7fffu;
  const float finite = std::bit_cast<float>(magnitude << 13) * 0x1p112f;
  const uint32_t special = magnitude >= 0x7c00u ? 0x7f800000u : 0u;
  const uint32_t sign = static_cast<uint32_t>(value.bits & 0x8000u) << 16;
  return std::bit_cast<float>(std::bit_cast<uint32_t>(finite) | special | sign);
}

} // namespace bottomup
