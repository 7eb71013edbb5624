// One pass over the pixels for all pixelwise terms and their gradient (equations 3 and 5 to 8).
//
// A block takes a tile, and there are two ways to go through it. For few entities features are read
// once for the cosines of its pixels, and of the pixels it compares them with, and a second time
// for the gradient; in between each pixel is its numbers, one for every entity: its cosines, then
// its coordinates in the segment space, the derivatives by these, and the derivatives by the
// cosines, each in place of the one before. For many entities the features stay with the block,
// which takes few entities at a time; where they are too large for that, it is the first way again.
#pragma once

#include <cstdint>

#include "common/feature_maps.h"
#include "common/launch.h"
#include "common/workspace.h"
#include "losses_cuda/feature_block.cuh"
#include "losses_cuda/image_lines.h"
#include "losses_cuda/tile.h"

namespace bottomup {

/// What a tile adds up.
enum TileTerm {
  tile_attraction,
  tile_repulsion,
  tile_mse,
  tile_change,
  tile_deviation,
  tile_terms
};

/// The kernels: that for few entities, the one that keeps features, and for where these are too
/// large those with a tile's numbers in shared memory and in the workspace.
enum class FusedKernel { few, kept_features, many, any };

/// What one of the launches does: images of at least `least` and at most `most` entities. How many
/// an image has is only known on the device, and decides there which of them works on it.
struct FusedPart {
  int32_t least, most;
  FusedKernel kernel;
  Tile tile;
  int32_t tile_rows, tile_columns; // of an image
  int32_t threads;
  int64_t shared_bytes;
  int32_t number_rows; // of the numbers of a tile: one for each line
  float *numbers;      // (blocks, 2, number_rows, stations), where they are not in shared memory
  bool copies;         // whether shared memory has a copy of the matrix in use,
  int32_t copy_floats; // so large
  int64_t first_block; // of the tiles' sums
};

/// What the kernel knows, by value.
struct FusedPass {
  FusedPart part;
  FeatureMaps features;
  Access access;
  void *gradient; // null for the terms alone
  FeatureMaps gradient_layout;
  Access gradient_access;
  int32_t height, width;
  const int32_t *labels; // (B, H, W)
  ImageLines images;
  uint8_t *easy; // (B, N), written: 1 for pixels nearer than 0.97 to their line; null if not asked
  int32_t *input_status;
  double *sums; // (B, blocks of an image, tile_terms), written
  int64_t image_blocks;
};

/// Whether more entities than few are worked on by blocks that keep the features.
bool keeps_features(const LossesProblem &problem);

/// The launches that the images of a problem may need.
struct FusedPlan {
  FusedPlan(const LossesProblem &problem, const ImageLines &images, Workspace &memory);

  FusedPart parts[3];
  int count = 0;
  int64_t image_blocks = 0;
  double *sums; // (B, image_blocks, tile_terms); blocks of images that another part does leave it
};

/// Starts one of the launches; instantiated for each type in a file of its own.
template <typename T> void launch_fused_pass(const FusedPass &pass, Launcher &launches);

void run_fused_pass(const LossesProblem &problem, const FusedPlan &plan, const ImageLines &images,
                    uint8_t *easy, int32_t *input_status, Launcher &launches);

} // namespace bottomup
