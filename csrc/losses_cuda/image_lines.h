// What the pixels of each image are compared with: lines, their inverse, and the weights of terms.
#pragma once

#include <cstdint>

#include "common/data_type.h"
#include "common/feature_maps.h"
#include "common/host_device.h"
#include "common/launch.h"
#include "common/workspace.h"
#include "contracts/losses.h"
#include "losses_cuda/label_sort.h"
#include "losses_cuda/pair_counts.h"

namespace bottomup {

struct ImageSummary {
  int32_t entities; // present, at positions 0 .. entities - 1
  int32_t lines;    // with the background, which if present comes last
  bool usable;      // whether there is a segment space (eq. 7)
  // What a pixel, the mean of a line's pixels, or a pair of neighbours counts in its image's term.
  float norm, mse, attraction, repulsion, pairs[kScales];
  // The gradient's factors: the terms' weights over the size of the batch.
  float attraction_gradient, repulsion_gradient, mse_gradient, pair_gradient, norm_gradient;
};

inline bool is_half(DataType type) {
  return type == DataType::float16 || type == DataType::bfloat16;
}

/// Channels in whole eights, as lines are kept.
inline int64_t padded_dimensions(const LossesProblem &problem) {
  return (problem.features.dimensions + 7) / 8 * 8;
}

/// Rows of float32, or of float16 where products may be of rounded numbers; the other is null.
struct TileRows {
  float *exact;
  Float16 *rounded;
};

/// Arrays on the device, of all images.
struct ImageLines {
  ImageLines(const LossesProblem &problem, bool wants_inverse, Workspace &memory);

  int32_t labels;        // K + 1
  int32_t dimensions;    // D in whole eights, padded by 0
  int32_t most_segments; // min(K, D)
  int32_t stride;        // of rows of the matrices below, whose columns are entities, padded by 0
  ImageSummary *summary; // (B)
  int32_t *pairs;        // (B, kScales): neighbours at each scale that are both valid (eq. 8)
  int32_t *position;     // (B, K + 1): of each label; -1 if it is absent
  float *weight_of;      // (B, K + 1): of a pixel in the mean of its line's, by position
  float *lines;          // (B, K + 1, dimensions), by position
  float *to_cosines;     // (B, dimensions, stride): the entities' lines as columns
  float *to_segments;    // (B, most_segments, stride): (M^T M)^-1
  bool inverse_wanted;   // or else there is none of these, which blocks bring again for every tile:
  TileRows tile_lines;   // (B, K + 1, dimensions): the same as `lines`
  TileRows inverse;      // (B, most_segments, dimensions): rows of (M^T M)^-1 M^T
  double *gram;          // (B, most_segments, most_segments)
  double *spaces;        // (B, ...): what inverting needs, where it is too large for shared memory
};

/// Fills all of it; the labels must have been counted.
void describe_images(const LossesProblem &problem, const LabelSort &sort, const ImageLines &images,
                     Launcher &launches);

} // namespace bottomup
