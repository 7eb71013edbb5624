// Assignment of pixels to modes, the last step of the mean-shift partition (equation 10): every
// pixel takes the nearest line by |cos|.
//
// With m_j the modes (unit lines) and f_p the feature of pixel p:
//   index[p] = argmax_j |m_j . f_p|       the earliest of equal ones, so 0 for a zero feature
//   score[p] = |m_index . x_p| in [0, 1]  with x_p = f_p / max(|f_p|, 1e-6)
// An image without modes gets index -1 and score 0. Products and sums are float32; with `fast`, on
// processors with AMX, products are of bfloat16: modes as near as that may take a pixel. Neither
// output depends on the sign of a feature or a mode, on the strides, or on the number of threads:
// both are bitwise the same for the same input and instruction set.
//
// The features are read once and the table of pixels x modes is never stored; the workspace is a
// copy of the modes and one tile of features a thread.
#pragma once

#include <cstdint>

#include "common/cuda_status.h"
#include "common/feature_maps.h"
#include "common/parallel.h"
#include "common/simd.h"
#include "common/status.h"

namespace bottomup {

struct AssignProblem {
  FeatureMaps features;
  int64_t max_modes; // M, rows of `modes` for one image

  const float *modes;       // (B, M, D) contiguous
  const int32_t *num_modes; // (B), each in [0, M]; rows from there on are not read
  bool fast;                // products may be of bfloat16

  int32_t *index; // (B, N) contiguous, written
  float *score;   // (B, N) contiguous, written
};

/// An empty batch or image writes nothing and is ok; D = 0 makes every feature a zero feature. On
/// any other status the outputs are unspecified. A float64 feature beyond the range of float32
/// counts as Inf. Non-finite features are found in images without modes, too.
Status assign_cpu(const AssignProblem &problem, Simd simd, const ParallelFor &parallel_for);

/// The same on the current CUDA device, where all pointers of the problem are; `workspace` has as
/// many bytes as the first function says. Bad input sets `*input_status`, zero before, to a Status.
/// Features of more than 128 dimensions are read anew for every 32 modes.
int64_t assign_cuda_workspace(const AssignProblem &problem);
CudaStatus assign_cuda(const AssignProblem &problem, void *workspace, int32_t *input_status,
                       CudaStream stream);

} // namespace bottomup
