// The draws of the regional contrast: queries and keys of every entity, by the counter-based
// generator Philox 4x32-10 keyed by the seed and counted by (image, entity, draw, stream), so that
// every backend draws the same in any order.
//
// Queries of an entity: up to Q of its pixels without replacement, in random order, hard ones
// first. Keys: each a pixel drawn uniformly from an entity j, itself drawn with probability softmax
// over j of |m_i . m_j| / 0.5; background is never a key.
#pragma once

#include <cstdint>

#include "common/cuda_status.h"
#include "common/parallel.h"
#include "common/simd.h"
#include "common/status.h"

namespace bottomup {

inline constexpr double kContrastTemperature = 0.5;

struct ContrastSamplesProblem {
  int64_t batch, pixels, dimensions;
  int64_t num_entities;  // K
  const int32_t *labels; // (B, N): -1 ignore, 0 background, 1..K
  const float *lines;    // (B, K+1, D)
  const uint8_t *easy;   // (B, N): 1 for pixels that are drawn only after the hard ones
  const int64_t *seeds;  // (B, 2): seed in [0, 2^63) and image counter in [0, 2^32)
  int64_t queries, negatives;

  int64_t *query_pixels; // (B, K, queries), written; -1 where an entity has fewer pixels
  int64_t *key_pixels;   // (B, K, negatives), written; -1 in images with fewer than two entities
};

/// Bitwise the same for any number of threads. The workspace is 4 bytes a pixel and 16 a pixel of
/// the entities being sorted.
Status contrast_samples_cpu(const ContrastSamplesProblem &problem, Simd,
                            const ParallelFor &parallel_for);

/// Bytes of workspace: 4 a pixel, 8 a query and 8 a pair of entities.
int64_t contrast_samples_cuda_workspace(const ContrastSamplesProblem &problem);

/// The same draws on a GPU. `*input_status`, on the device and zero at entry, gets the Status of
/// bad input.
CudaStatus contrast_samples_cuda(const ContrastSamplesProblem &problem, void *workspace,
                                 int32_t *input_status, CudaStream stream);

} // namespace bottomup
