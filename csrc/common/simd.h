// Which instruction set the CPU kernels use, chosen when the program runs.
#pragma once

namespace bottomup {

enum class Simd { portable, avx2, avx512 };

/// The best instruction set of this processor, or the one that the environment variable
/// BOTTOMUP_CPU ("portable", "avx2", "avx512") names, if the processor has it.
Simd selected_simd();

/// The instruction sets this processor can run, as a JSON list of names, plainest first.
const char *available_simd_json();

const char *name(Simd simd);

} // namespace bottomup

// Kernel bodies are inlined into one function per instruction set, which compiles each for it.
#define BOTTOMUP_ALWAYS_INLINE inline __attribute__((always_inline))

#if defined(__clang__)
#define BOTTOMUP_UNROLL _Pragma("unroll")
#else
#define BOTTOMUP_UNROLL _Pragma("GCC unroll 16")
#endif

#if defined(__x86_64__)
#define BOTTOMUP_TARGET_AVX2 __attribute__((target("avx2,fma")))
#define BOTTOMUP_TARGET_AVX512                                                                     \
  __attribute__((target("avx512f,avx512bw,fma,prefer-vector-width=512")))
#endif

namespace bottomup {

// A kernel is a type with a static `run<lanes>`, lanes being the floats of a vector.
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
#endif

template <typename Kernel, typename Function> struct Instances;

template <typename Kernel, typename Result, typename... Args>
struct Instances<Kernel, Result (*)(Args...)> {
  static constexpr Result (*portable)(Args...) = run_portable<Kernel, Result, Args...>;
#if defined(__x86_64__)
  static constexpr Result (*avx2)(Args...) = run_avx2<Kernel, Result, Args...>;
  static constexpr Result (*avx512)(Args...) = run_avx512<Kernel, Result, Args...>;
#endif
};

/// The instance of a kernel, a function of type `Function`, for an instruction set.
template <typename Kernel, typename Function> Function for_simd(Simd simd) {
#if defined(__x86_64__)
  if (simd == Simd::avx512)
    return Instances<Kernel, Function>::avx512;
  if (simd == Simd::avx2)
    return Instances<Kernel, Function>::avx2;
#endif
  (void)simd;
  return Instances<Kernel, Function>::portable;
}

} // namespace bottomup
