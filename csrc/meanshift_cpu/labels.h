// From positions of modes to the labels of segments.
#pragma once

#include <cstdint>
#include <vector>

#include "meanshift_cpu/full_pass.h"

namespace bottomup {

/// Replaces positions of `count` modes by numbers from 1 in order of first appearance, kLeftOut by
/// 0 and kNoLine by the number of the mode `first`. Returns how many numbers there are.
inline int32_t number_by_appearance(int32_t *index, int64_t pixels, int64_t count, int32_t first) {
  std::vector<int32_t> numbers(std::max<int64_t>(count, 1));
  int32_t last = 0;
  for (int64_t p = 0; p < pixels; ++p) {
    if (index[p] == kLeftOut) {
      index[p] = 0;
      continue;
    }
    int32_t &number = numbers[index[p] == kNoLine ? first : index[p]];
    if (number == 0)
      number = ++last;
    index[p] = number;
  }
  return last;
}

} // namespace bottomup
