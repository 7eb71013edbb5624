// Philox 4x32-10, the counter-based generator of Salmon et al. (SC 2011).
#pragma once

#include <array>
#include <cstdint>

#include "common/host_device.h"

namespace bottomup {

using Words = std::array<uint32_t, 4>;

/// Four random words for a key and a counter.
BOTTOMUP_HOST_DEVICE inline Words philox(uint64_t key, Words counter) {
  uint32_t low_key = static_cast<uint32_t>(key), high_key = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t first = uint64_t{0xD2511F53} * counter[0];
    const uint64_t second = uint64_t{0xCD9E8D57} * counter[2];
    counter = {
        static_cast<uint32_t>(second >> 32) ^ counter[1] ^ low_key, static_cast<uint32_t>(second),
        static_cast<uint32_t>(first >> 32) ^ counter[3] ^ high_key, static_cast<uint32_t>(first)};
    low_key += 0x9E3779B9;
    high_key += 0xBB67AE85;
  }
  return counter;
}

/// A word as a number in [0, 1).
BOTTOMUP_HOST_DEVICE inline double uniform(uint32_t word) { return word * 0x1p-32; }

} // namespace bottomup
