// Compiles a kernel once per instruction set and picks one when the program runs.
//
// A kernel is a class with an always-inline `template <int lanes> static auto run(arguments...)`,
// `lanes` being the floats of a vector; its code is inlined into one function per instruction set.
// So no function that other files share is ever compiled for a processor that may not be there.
#pragma once

#include "common/data_type.h"
#include "common/simd.h"

namespace bottomup {

template <typename Kernel, typename... Arguments> auto run_portable(Arguments &...arguments) {
  return Kernel::template run<4>(arguments...);
}

#if defined(__x86_64__)
template <typename Kernel, typename... Arguments>
BOTTOMUP_TARGET_AVX2 auto run_avx2(Arguments &...arguments) {
  return Kernel::template run<8>(arguments...);
}

template <typename Kernel, typename... Arguments>
BOTTOMUP_TARGET_AVX512 auto run_avx512(Arguments &...arguments) {
  return Kernel::template run<16>(arguments...);
}
#endif

template <typename Kernel, typename... Arguments> auto run(Simd simd, Arguments &&...arguments) {
#if defined(__x86_64__)
  if (simd == Simd::avx512)
    return run_avx512<Kernel>(arguments...);
  if (simd == Simd::avx2)
    return run_avx2<Kernel>(arguments...);
#endif
  (void)simd;
  return run_portable<Kernel>(arguments...);
}

/// Calls `body` with a null pointer to the C++ type of `type`.
template <typename Body> auto with_type(DataType type, Body &&body) {
  switch (type) {
  case DataType::float64:
    return body(static_cast<const double *>(nullptr));
  case DataType::float16:
    return body(static_cast<const Float16 *>(nullptr));
  case DataType::bfloat16:
    return body(static_cast<const BFloat16 *>(nullptr));
  case DataType::float32:
    break;
  }
  return body(static_cast<const float *>(nullptr));
}

} // namespace bottomup
