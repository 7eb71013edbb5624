// Two bfloat16 numbers side by side, as processors multiply them.
#pragma once

#include <bit>
#include <cstdint>

#include "common/simd.h"
#include "common/vector.h"

namespace bottomup {

/// As an integer, so that vectors of pairs are vectors of integers.
using BFloat16Pair = int32_t;

/// Numbers in one operand of a product.
template <typename Operand> inline constexpr int64_t kNumbers = 1;
template <> inline constexpr int64_t kNumbers<BFloat16Pair> = 2;

/// To the nearest, ties to even; NaN may become anything.
BOTTOMUP_ALWAYS_INLINE BFloat16Pair rounded_pair(float first, float second) {
  const uint32_t low = std::bit_cast<uint32_t>(first), high = std::bit_cast<uint32_t>(second);
  const uint32_t low_rounded = low + 0x7fffu + (low >> 16 & 1);
  const uint32_t high_rounded = high + 0x7fffu + (high >> 16 & 1);
  return static_cast<BFloat16Pair>(low_rounded >> 16 | (high_rounded & 0xffff0000u));
}

/// sums + a * b.
template <int lanes>
BOTTOMUP_ALWAYS_INLINE Vector<lanes> multiply_add(Vector<lanes> sums, Vector<lanes> a,
                                                  Vector<lanes> b) {
  return sums + a * b;
}

template <int lanes>
BOTTOMUP_ALWAYS_INLINE Vector<lanes> multiply_add(Vector<lanes> sums, float a, Vector<lanes> b) {
  return sums + a * b;
}

#if defined(__x86_64__)
/// The same of both numbers of each pair, for kernels that run on AVX512-BF16.
template <int lanes>
BOTTOMUP_ALWAYS_INLINE Vector<lanes> multiply_add(Vector<lanes> sums, Integers<lanes> a,
                                                  Integers<lanes> b) {
  static_assert(lanes == 16);
  // Compilers refuse the intrinsic where a function says no target, though it is inlined into one
  // that does.
  asm("vdpbf16ps %2, %1, %0" : "+v"(sums) : "v"(a), "v"(b));
  return sums;
}

template <int lanes>
BOTTOMUP_ALWAYS_INLINE Vector<lanes> multiply_add(Vector<lanes> sums, BFloat16Pair a,
                                                  Integers<lanes> b) {
  return multiply_add<lanes>(sums, Integers<lanes>{} + a, b);
}
#endif

} // namespace bottomup
