// From the padded length of lines to a template's.
#pragma once

#include <cstdint>

#include "common/data_type.h"
#include "meanshift_cuda/tiling.h"

namespace bottomup {

template <int number> struct Constant {
  static constexpr int value = number;
};

/// Calls `body` with the number of channels that kernels are compiled for.
template <typename Body> auto for_channels(int64_t channels, const Body &body) {
  switch (channels) {
  case 16:
    return body(Constant<16>{});
  case 32:
    return body(Constant<32>{});
  case 64:
    return body(Constant<64>{});
  default:
    return body(Constant<kTileChannels>{});
  }
}

/// Tensor cores take lines of up to 256 channels as a whole, float32 a tile of channels at a time.
template <typename Body> auto for_packed(Float16, int64_t padded, const Body &body) {
  if (padded == 2 * kTileChannels)
    return body(Constant<2 * kTileChannels>{});
  return for_channels(padded, body);
}

template <typename Body> auto for_packed(float, int64_t padded, const Body &body) {
  return for_channels(padded, body);
}

} // namespace bottomup
