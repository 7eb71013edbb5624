// Stores past the caches, for results that nobody reads before they would have left them.
#pragma once

#include <cstdint>
#include <cstring>

#include "common/simd.h"

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

namespace bottomup {

/// Copies `bytes`, a multiple of 64, without reading what they replace into the caches first;
/// `target` must lie on a boundary of 64 bytes. To be followed by `finish_streaming`.
BOTTOMUP_ALWAYS_INLINE void stream(const void *source, void *target, int64_t bytes) {
#if defined(__SSE2__)
  const float *from = static_cast<const float *>(source);
  float *to = static_cast<float *>(target);
  for (int64_t i = 0; i < bytes / 4; i += 4)
    _mm_stream_ps(to + i, _mm_loadu_ps(from + i));
#else
  std::memcpy(target, source, bytes);
#endif
}

/// Makes streamed values visible to other threads.
inline void finish_streaming() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

} // namespace bottomup
