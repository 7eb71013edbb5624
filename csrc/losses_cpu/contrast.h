// The regional contrast: cross-entropy of queries against their line and keys of other entities.
#pragma once

#include <cstdint>
#include <vector>

#include "common/parallel.h"
#include "common/simd.h"
#include "contracts/losses.h"

namespace bottomup {

/// Term of every image into `sums` (B), its gradient added to the problem's. easy: (B, N), see
/// contracts/contrast_samples.h. The workspace is 8 bytes per query and key, and 12 D bytes per
/// key of an entity for each running thread.
void contrast_of_images(const LossesProblem &problem, const uint8_t *easy, Simd simd,
                        const ParallelFor &parallel_for, double *sums);

} // namespace bottomup
