#include "common/simd.h"

#include <cstdlib>
#include <string_view>

namespace bottomup {
namespace {

Simd best_simd() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw"))
    return Simd::avx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return Simd::avx2;
#endif
  return Simd::portable;
}

Simd requested_simd(Simd best) {
  const char *request = std::getenv("BOTTOMUP_CPU");
  for (const Simd simd : {Simd::portable, Simd::avx2, Simd::avx512})
    if (request && std::string_view(request) == name(simd) && simd <= best)
      return simd;
  return best;
}

} // namespace

Simd selected_simd() {
  static const Simd selected = requested_simd(best_simd());
  return selected;
}

const char *available_simd_json() {
  switch (best_simd()) {
  case Simd::avx512:
    return R"(["portable", "avx2", "avx512"])";
  case Simd::avx2:
    return R"(["portable", "avx2"])";
  case Simd::portable:
    break;
  }
  return R"(["portable"])";
}

const char *name(Simd simd) {
  switch (simd) {
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
