#include "common/simd.h"

#include <cstdlib>
#include <string_view>

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace bottomup {
namespace {

constexpr Simd kAll[] = {Simd::portable, Simd::avx2, Simd::avx512, Simd::avx512_bf16,
                         Simd::avx512_amx};

#if defined(__x86_64__) && defined(__linux__)
/// Whether there are units for products of bfloat16 matrices and the system lets this process use
/// them, for which it has to ask.
bool has_matrix_units() {
  constexpr unsigned kFeatures = 7, kBFloat16 = 1u << 22, kTiles = 1u << 24;
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(kFeatures, 0, &a, &b, &c, &d) && (d & kBFloat16) && (d & kTiles) &&
         syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}
#else
bool has_matrix_units() { return false; }
#endif

Simd best_simd() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw"))
    return !__builtin_cpu_supports("avx512bf16") ? Simd::avx512
           : has_matrix_units()                  ? Simd::avx512_amx
                                                 : Simd::avx512_bf16;
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
  case Simd::avx512_amx:
    return "avx512-amx";
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
