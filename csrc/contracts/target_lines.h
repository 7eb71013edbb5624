// Target lines (equation 4): the average line of every entity of a label map.
//
// With x_p = f_p / max(|f_p|, 1e-6) and S_i the pixels of label i:
//   line i = unit eigenvector of the largest eigenvalue of A_i = sum over S_i of x_p x_p^T
// its component of largest magnitude positive; zero for an absent label, or one with zero features
// only. Row 0 is the background's. A line's angle to the exact one is at most 1e-6 * eigenvalue /
// gap with float32 products; `fast` rounds x to bfloat16 where the processor multiplies that.
//
// The features are read once. Bitwise the same for any number of threads on one instruction set.
#pragma once

#include <cstdint>

#include "common/cuda_status.h"
#include "common/feature_maps.h"
#include "common/parallel.h"
#include "common/simd.h"
#include "common/status.h"

namespace bottomup {

struct TargetLinesProblem {
  FeatureMaps features;
  const int32_t *labels; // (B, N) contiguous: -1 ignore, 0 background, 1..K
  int64_t num_entities;  // K
  float *lines;          // (B, K+1, D) contiguous, written
  bool fast;             // sums of products of bfloat16, where the processor has them
};

/// The workspace is 4 bytes a pixel and D * D * 4 bytes per label and per 4096 pixels of an image.
/// On a status other than ok the output is unspecified. Features of ignored pixels are not read.
Status target_lines_cpu(const TargetLinesProblem &problem, Simd simd,
                        const ParallelFor &parallel_for);

/// Bytes of workspace: 4 a pixel and 4 D * D per label and per 1024 pixels of an image.
int64_t target_lines_cuda_workspace(const TargetLinesProblem &problem);

/// The same on a GPU; products are float32 with `fast`, too. Features of up to 128 dimensions are
/// read once, of more once per pair of 128. Bitwise deterministic on devices of one kind, and other
/// images change nothing. `*input_status`, on the device and zero at entry, gets the Status of bad
/// input.
CudaStatus target_lines_cuda(const TargetLinesProblem &problem, void *workspace,
                             int32_t *input_status, CudaStream stream);

} // namespace bottomup
