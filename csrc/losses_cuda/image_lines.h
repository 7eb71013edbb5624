// What the pixels of each image are compared with: lines, their inverse, and the weights of terms.
#pragma once

#include <cstdint>

#include "common/feature_maps.h"
#include "common/host_device.h"
#include "common/launch.h"
#include "common/workspace.h"
#include "contracts/losses.h"
#include "losses_cuda/label_sort.h"

namespace bottomup {

inline constexpr int kScales = 4; // of the segment gradient: every 2^k-th pixel, k = 0..3

struct ImageSummary {
  int32_t entities; // present, at positions 0 .. entities - 1
  int32_t lines;    // with the background, which if present comes last
  bool usable;      // whether there is a segment space (eq. 7)
  // What a pixel or a pair of neighbours counts in its image's term.
  float norm, mse, pairs[kScales];
  // The gradient's factors: the terms' weights over the size of the batch.
  float attraction_gradient, repulsion_gradient, mse_gradient, pair_gradient, norm_gradient;
};

/// Arrays on the device, of all images.
struct ImageLines {
  ImageLines(const LossesProblem &problem, Workspace &memory);

  int32_t labels;        // K + 1
  int32_t dimensions;    // D in whole eights, padded by 0
  int32_t most_segments; // min(K, D)
  int32_t stride;        // of rows of the matrices below, whose columns are entities, padded by 0
  ImageSummary *summary; // (B)
  int32_t *pairs;        // (B, kScales): neighbours at each scale that are both valid (eq. 8)
  int32_t *position;     // (B, K + 1): of each label; -1 if it is absent
  float *attraction_of;  // (B, K + 1): weight of a pixel in its image's term, by position
  float *repulsion_of;   // (B, K + 1)
  float *lines;          // (B, K + 1, dimensions), by position
  float *to_cosines;     // (B, dimensions, stride): the entities' lines as columns
  float *to_segments;    // (B, most_segments, stride): (M^T M)^-1
  double *gram;          // (B, most_segments, most_segments)
  float *rounded;        // the same, for its eigenvalue
  double *cross;         // (B, 2, most_segments): a row and a column of it
  float *spaces;         // (B, ...): a Krylov space, where it is too large for shared memory
};

/// Fills all of it; the labels must have been counted.
void describe_images(const LossesProblem &problem, const LabelSort &sort, const ImageLines &images,
                     Launcher &launches);

} // namespace bottomup
