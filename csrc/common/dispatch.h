// Compiles a kernel once per instruction set and picks one when the program runs.
//
// A kernel is a type with an always-inline static `run<lanes>`, lanes being the floats of a vector;
// its code is inlined into one function per instruction set. So no function that other files share
// is ever compiled for a processor that may not be there.
#pragma once

#include "common/bfloat16_pair.h"
#include "common/data_type.h"
#include "common/simd.h"

namespace bottomup {

template <typename Kernel, typename Result, typename... Args> Result run_portable(Args... args) {
  return Kernel::template run<4>(args...);
}

#if defined(__x86_64__)
template <typename Kernel, typename Result, typename... Args>
BOTTOMUP_TARGET_AVX2 Result run_avx2(Args... args) {
  return Kernel::template run<8>(args...);
}

template <typename Kernel, typename Result, typename... Args>
BOTTOMUP_TARGET_AVX512 Result run_avx512(Args... args) {
  return Kernel::template run<16>(args...);
}

template <typename Kernel, typename Result, typename... Args>
BOTTOMUP_TARGET_AVX512_BF16 Result run_avx512_bf16(Args... args) {
  return Kernel::template run<16>(args...);
}
#endif

template <typename Kernel, typename Function> struct Instances;

template <typename Kernel, typename Result, typename... Args>
struct Instances<Kernel, Result (*)(Args...)> {
  static constexpr Result (*portable)(Args...) = run_portable<Kernel, Result, Args...>;
#if defined(__x86_64__)
  static constexpr Result (*avx2)(Args...) = run_avx2<Kernel, Result, Args...>;
  static constexpr Result (*avx512)(Args...) = run_avx512<Kernel, Result, Args...>;
  static constexpr Result (*avx512_bf16)(Args...) = run_avx512_bf16<Kernel, Result, Args...>;
#endif
};

/// The instance of a kernel, a function like its `run`, for an instruction set.
template <typename Kernel> auto for_simd(Simd simd) {
  using Function = decltype(&Kernel::template run<4>);
#if defined(__x86_64__)
  if (simd >= Simd::avx512)
    return Instances<Kernel, Function>::avx512;
  if (simd == Simd::avx2)
    return Instances<Kernel, Function>::avx2;
#endif
  (void)simd;
  return Instances<Kernel, Function>::portable;
}

/// Calls `pick` with the kernel for features of a type, `run` having the same arguments for all.
template <template <typename> class Kernel, typename Pick>
auto by_type(DataType type, const Pick &pick) {
  switch (type) {
  case DataType::float64:
    return pick.template operator()<Kernel<double>>();
  case DataType::float16:
    return pick.template operator()<Kernel<Float16>>();
  case DataType::bfloat16:
    return pick.template operator()<Kernel<BFloat16>>();
  case DataType::float32:
    break;
  }
  return pick.template operator()<Kernel<float>>();
}

/// The instance for features of a type.
template <template <typename> class Kernel> auto for_type(DataType type, Simd simd) {
  return by_type<Kernel>(type, [&]<typename Typed>() { return for_simd<Typed>(simd); });
}

/// A kernel of two types as one of the first.
template <template <typename, typename> class Kernel, typename Second> struct With {
  template <typename T> using Typed = Kernel<T, Second>;
};

/// The instance for features of a type of a kernel whose products take either operand: pairs of
/// bfloat16 if wanted and in the instruction set, else float32.
template <template <typename, typename> class Kernel>
auto for_precision(DataType type, Simd simd, bool fast) {
#if defined(__x86_64__)
  if (fast && simd >= Simd::avx512_bf16)
    return by_type<With<Kernel, BFloat16Pair>::template Typed>(type, []<typename Typed>() {
      return Instances<Typed, decltype(&Typed::template run<16>)>::avx512_bf16;
    });
#endif
  (void)fast;
  return for_type<With<Kernel, float>::template Typed>(type, simd);
}

} // namespace bottomup
