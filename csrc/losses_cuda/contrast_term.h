// The regional contrast: cross-entropy of queries against their line and keys of other entities.
#pragma once

#include <cstdint>

#include "common/launch.h"
#include "common/workspace.h"
#include "contracts/contrast_samples.h"
#include "contracts/losses.h"
#include "losses_cuda/contrast_samples.h"
#include "losses_cuda/image_lines.h"
#include "losses_cuda/label_sort.h"

namespace bottomup {

/// Arrays on the device.
struct ContrastPlan {
  ContrastPlan(const LossesProblem &problem, Workspace &memory);

  uint8_t *easy; // (B, N), see contracts/contrast_samples.h
  ContrastSamplesProblem samples;
  ContrastDraws draws;
  int64_t group;      // images worked on at a time
  int32_t candidates; // of an entity: its line, then its keys
  int32_t dimensions; // D in whole fours, padded by 0
  int32_t tiles;      // of an entity's queries
  float *lines;       // (group, K, candidates + queries, dimensions): unit lines of the samples
  float *lengths;     // (group, K, queries): |f| of queries
  double *sums;       // (B, K * tiles): shares of an image's term
};

/// Draws the samples, adds the gradient of the queries, and fills `sums`. The labels must have been
/// sorted, the images described, and `easy` filled.
void add_contrast(const LossesProblem &problem, const LabelSort &sort, const ImageLines &images,
                  const ContrastPlan &plan, Launcher &launches);

} // namespace bottomup
