// Images padded to sizes that a network takes, and maps cropped.
#pragma once

#include <algorithm>
#include <cstdint>

#include "bottomup/types.h"

namespace bottomup {

/// Copies (3, H, W) to (3, rows, columns), repeating the last row and column.
inline void pad(const float *image, ImageSize size, ImageSize padded, float *to) {
  for (int64_t channel = 0; channel < 3; ++channel)
    for (int64_t y = 0; y < padded.height; ++y) {
      const float *from =
          image + (channel * size.height + std::min(y, size.height - 1)) * size.width;
      to = std::copy_n(from, size.width, to);
      to = std::fill_n(to, padded.width - size.width, from[size.width - 1]);
    }
}

/// Copies the (maps, H, W) out of (maps, rows, columns).
inline void crop(const float *maps, int64_t count, ImageSize size, ImageSize padded, float *to) {
  for (int64_t map = 0; map < count; ++map)
    for (int64_t y = 0; y < size.height; ++y)
      to = std::copy_n(maps + (map * padded.height + y) * padded.width, size.width, to);
}

} // namespace bottomup
