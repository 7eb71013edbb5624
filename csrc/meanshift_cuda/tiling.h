// Sizes that the kernels and those who start them share.
#pragma once

#include <cstdint>

#include "common/host_device.h"

namespace bottomup {

inline constexpr int kThreads = 256;      // of a block that shares its work evenly
inline constexpr int kWideThreads = 1024; // of the only block of an image

// Pixels of a packed image are filled up with zero lines to a multiple of this: the largest tile.
inline constexpr int kPackedPixels = 128;

// Channels of a tile of packed or raw lines in shared memory: 64 pixels of them are 33 KiB, so that
// compute capability 7.5 holds a tile of modes beside it, and later ones several blocks.
inline constexpr int kTileChannels = 128;

BOTTOMUP_HOST_DEVICE constexpr int64_t tiles_of(int64_t count, int64_t size) {
  return (count + size - 1) / size;
}

BOTTOMUP_HOST_DEVICE constexpr int64_t round_up(int64_t count, int64_t size) {
  return tiles_of(count, size) * size;
}

/// Channels of a packed line: what the kernels are compiled for, or a multiple of a tile.
constexpr int64_t padded_dimensions(int64_t dimensions) {
  for (const int64_t size : {16, 32, 64})
    if (dimensions <= size)
      return size;
  return round_up(dimensions, kTileChannels);
}

/// The smallest power of two that is not below `count`.
constexpr int power_of_two(int64_t count) {
  int result = 1;
  while (result < count)
    result *= 2;
  return result;
}

} // namespace bottomup
