// Vectors of floats that compilers keep in registers, by the extension that gcc and clang share.
//
// Loops over plain arrays are left to the compiler elsewhere; where a block of sums must stay in
// registers, these say so.
#pragma once

#include <cstdint>
#include <cstring>

#include "common/simd.h"

namespace bottomup {

template <int lanes> struct VectorType {
  typedef float type __attribute__((vector_size(lanes * sizeof(float))));
  typedef int32_t integers __attribute__((vector_size(lanes * sizeof(int32_t))));
};
template <int lanes> using Vector = typename VectorType<lanes>::type;
template <int lanes> using Integers = typename VectorType<lanes>::integers;

template <int lanes> BOTTOMUP_ALWAYS_INLINE Vector<lanes> load(const float *source) {
  Vector<lanes> result;
  std::memcpy(&result, source, sizeof(result));
  return result;
}

template <int lanes> BOTTOMUP_ALWAYS_INLINE Integers<lanes> load(const int32_t *source) {
  Integers<lanes> result;
  std::memcpy(&result, source, sizeof(result));
  return result;
}

template <int lanes> BOTTOMUP_ALWAYS_INLINE Vector<lanes> magnitude(const Vector<lanes> &value) {
  return (Vector<lanes>)((Integers<lanes>)value & 0x7fffffff);
}

/// `slope` where `value` is positive, `-slope` where it is negative, 0 where it is zero.
template <int lanes>
BOTTOMUP_ALWAYS_INLINE Vector<lanes> with_sign(const Vector<lanes> &value,
                                               const Vector<lanes> &slope) {
  return value > 0 ? slope : value < 0 ? -slope : Vector<lanes>{};
}

template <int lanes> BOTTOMUP_ALWAYS_INLINE void store(float *target, const Vector<lanes> &value) {
  std::memcpy(target, &value, sizeof(value));
}

template <int lanes>
BOTTOMUP_ALWAYS_INLINE void store(int32_t *target, const Integers<lanes> &value) {
  std::memcpy(target, &value, sizeof(value));
}

/// Sum of the lanes, by halves.
template <int lanes> BOTTOMUP_ALWAYS_INLINE float total(const Vector<lanes> &value) {
  if constexpr (lanes == 4) {
    return (value[0] + value[2]) + (value[1] + value[3]);
  } else {
    float halves[lanes];
    store<lanes>(halves, value);
    return total<lanes / 2>(load<lanes / 2>(halves) + load<lanes / 2>(halves + lanes / 2));
  }
}

} // namespace bottomup
