#include "common/simd.h"

#include <cstdlib>
#include <string_view>

namespace bottomup {
namespace {

constexpr Simd kAll[] = {Simd::portable, Simd::avx2, Simd::avx512, Simd::avx512_bf16};

Simd best_simd() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw"))
    return __builtin_cpu_supports("avx512bf16") ? Simd::avx512_bf16 : Simd::avx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return Simd::avx2;
#endif
  return Simd::portable;
}

Simd requested_simd(Simd best) {
  const char *request = std::getenv("BOTTOMUP_CPU");
  for (const Simd simd : kAll)
    if (request && std::string_view(request) == name(simd) && simd <= best)
      return simd;
  return best;
}

} // namespace

Simd selected_simd() {
  static const Simd selected = requested_simd(best_simd());
  return selected;
}

std::string available_simd_json() {
  std::string names;
  for (const Simd simd : kAll)
    if (simd <= best_simd())
      names += (names.empty() ? "\"" : ", \"") + std::string(name(simd)) + "\"";
  return "[" + names + "]";
}

const char *name(Simd simd) {
  switch (simd) {
  case Simd::avx512_bf16:
    return "avx512-bf16";
  case Simd::avx512:
    return "avx512";
  case Simd::avx2:
    return "avx2";
  case Simd::portable:
    break;
  }
  return "portable";
}

} // namespace bottomup
