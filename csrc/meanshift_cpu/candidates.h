// The modes that a tile of pixels is likely to belong to.
#pragma once

#include <algorithm>
#include <cstdint>

#include "meanshift_cpu/lines.h"

namespace bottomup {

inline constexpr int64_t kHinting = 3; // pixels of a tile that make their mode a candidate

/// The modes that pixels are compared with first.
struct Candidates {
  explicit Candidates(int64_t dimensions) : packed(kModes, dimensions, kModes) {}

  bool contains(int32_t mode) const {
    return std::find(modes, modes + count, mode) != modes + count;
  }

  /// Takes the modes that several of the hints name, unless it has them already.
  void choose(const int32_t *hints, const Lines &lines) {
    int32_t named[kTile], times[kTile];
    int64_t size = 0;
    for (int64_t p = 0, last = 0; p < kTile; ++p) {
      if (hints[p] < 0)
        continue;
      if (last == size || named[last] != hints[p])
        last = std::find(named, named + size, hints[p]) - named;
      if (last == size) {
        named[size] = hints[p];
        times[size++] = 0;
      }
      ++times[last];
    }
    int32_t chosen[kModes];
    int64_t number = 0;
    bool known = true;
    for (int64_t i = 0; i < size && number < kModes; ++i)
      if (times[i] >= kHinting) {
        chosen[number++] = named[i];
        known &= contains(named[i]);
      }
    if (known)
      return;
    count = number;
    std::copy_n(chosen, count, modes);
    for (int64_t j = 0; j < count; ++j)
      for (int64_t d = 0; d < lines.dimensions; ++d)
        packed.set(j, d, lines.row(modes[j])[d]);
  }

  int64_t count = 0;
  int32_t modes[kModes] = {};
  PackedMatrix<> packed; // the first `count` rows
};

} // namespace bottomup
