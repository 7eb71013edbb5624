// Which instruction set the CPU kernels use, chosen when the program runs.
#pragma once

#include <string>

namespace bottomup {

/// Each has what those before it have.
enum class Simd { portable, avx2, avx512, avx512_bf16, avx512_amx };

/// The best instruction set of this processor, or the one that the environment variable
/// BOTTOMUP_CPU ("portable", "avx2", "avx512", "avx512-bf16", "avx512-amx") names, if the processor
/// has it.
Simd selected_simd();

/// The instruction sets this processor can run, as a JSON list of names, plainest first.
std::string available_simd_json();

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
#define BOTTOMUP_TARGET_AVX512_BF16                                                                \
  __attribute__((target("avx512f,avx512bw,avx512bf16,fma,prefer-vector-width=512")))
#endif
