// The losses of equations 3 and 5 to 8 for given target lines, and their gradient with respect to
// the raw features, in one pass; equations.md of the paper's summary numbers them so.
//
// terms[t] is the mean over the B images of term t; gradient = sum over t of weights[t] * d
// terms[t] / d features, lines being constants. Degenerate images (more entities than dimensions,
// two lines nearer than 0.98, condition of their Gram matrix above 1e4) have no segment-space
// terms.
//
// Features are read once for the terms and once more, from the cache if it holds 16 rows of the
// image, for the gradient, which is written once; the map of pixels x entities is never stored but
// for 17 rows of the image per running thread. Products and sums are float32 unless `fast`. Bitwise
// the same for any number of threads on one instruction set, and a batch gives each image what it
// has alone.
#pragma once

#include <cstdint>

#include "common/cuda_status.h"
#include "common/feature_maps.h"
#include "common/parallel.h"
#include "common/simd.h"
#include "common/status.h"

namespace bottomup {

enum LossTerm { attraction, repulsion, contrast, segment_mse, segment_gradient, norm, loss_terms };

enum class RepulsionNormaliser { entities, pairs, sqrt_pairs };

struct LossesProblem {
  FeatureMaps features;
  int64_t height, width;
  const int32_t *labels; // (B, H, W) contiguous: -1 ignore, 0 background, 1..K
  int64_t num_entities;  // K
  const float *lines;    // (B, K+1, D) contiguous, row 0 the background's
  RepulsionNormaliser normaliser;

  float weights[loss_terms]; // of the gradient
  const int64_t *seeds;      // (B, 2): seed and image counter of the contrast's draws
  int64_t queries;           // of the contrast, per entity; 0 leaves it out
  int64_t negatives;         // of the contrast, per entity

  float *terms;                // (loss_terms), written
  float *total;                // written: the sum of weights[t] * terms[t]
  void *gradient;              // written, of the features' type; null for the terms alone
  FeatureMaps gradient_layout; // its strides

  // Products of features and lines of numbers rounded to bfloat16, with float32 sums, where the
  // processor has them.
  bool fast;
};

/// On a status other than ok the outputs are unspecified. An empty batch or image gives zeros.
Status losses_cpu(const LossesProblem &problem, Simd simd, const ParallelFor &parallel_for);

/// Bytes of workspace on the current device: a few for each tile of pixels and label, 16 a pair of
/// entities, 12 a channel and entity, and where the contrast is wanted 5 a pixel and the lines of
/// its queries and keys, of as many images at a time as 64 MB hold, but one at least. Beyond 128
/// entities 14 bytes a pixel and entity are added if features do not stay on chip.
int64_t losses_cuda_workspace(const LossesProblem &problem);

/// The same on a GPU. Products are float32; `fast` rounds the lines that features of half precision
/// meet on chip to float16. Features are read twice, and those around a tile of pixels once more.
/// Of images of more than 32 entities they stay on chip, so that both are read once, if a tile of 8
/// x 8 fits shared memory: up to 128 channels from compute capability 8.0 on. Bitwise deterministic
/// on devices of one kind; gradients of an image do not depend on the others. `*input_status`, on
/// the device and zero at entry, gets the Status of bad input.
CudaStatus losses_cuda(const LossesProblem &problem, void *workspace, int32_t *input_status,
                       CudaStream stream);

} // namespace bottomup
