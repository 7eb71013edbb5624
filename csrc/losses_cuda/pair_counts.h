// How many pairs of neighbours the segment gradient (eq. 8) compares.
#pragma once

#include <cstdint>

#include "common/launch.h"
#include "losses_cuda/label_sort.h"

namespace bottomup {

inline constexpr int kScales = 4; // of the segment gradient: every 2^k-th pixel, k = 0..3

/// pairs: (B, kScales), written: neighbours to the right and below at each scale, both valid.
void count_pairs(const LabelSort &sort, int height, int width, int32_t *pairs, Launcher &launches);

} // namespace bottomup
