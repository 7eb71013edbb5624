// The contrast's draws on the device, for the op and for the losses.
#pragma once

#include <cstdint>

#include "common/launch.h"
#include "common/workspace.h"
#include "contracts/contrast_samples.h"
#include "losses_cuda/label_sort.h"

namespace bottomup {

/// What the draws need beside the sorted labels.
struct ContrastDraws {
  ContrastDraws(const ContrastSamplesProblem &problem, Workspace &memory);

  uint64_t *queries; // (B, K, queries): ranks of the drawn pixels, unordered
  double *weights;   // (B, K, K): probabilities that a key comes from each entity, summed up
};

/// Draws queries and keys; the labels must have been sorted.
void draw_samples(const ContrastSamplesProblem &problem, const LabelSort &sort,
                  const ContrastDraws &draws, Launcher &launches);

} // namespace bottomup
