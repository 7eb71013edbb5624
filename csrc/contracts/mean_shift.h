// Mean shift of given seeds on lines with a flat window (equation 10):
//   m <- normalise(sum of (m . x) x over the points with |m . x| >= cos(bandwidth))
// until a step moves a seed by no more than `tolerance` or `max_steps` are done. A seed whose
// window is empty stays. Products and sums are float32; seeds x points is never stored: the
// workspace is a copy of the points of one image and a few lines a thread.
//
// Bitwise the same for any number of threads, strides and other seeds, for one instruction set.
#pragma once

#include <cstdint>

#include "common/cuda_status.h"
#include "common/feature_maps.h"
#include "common/parallel.h"
#include "common/simd.h"
#include "common/status.h"

namespace bottomup {

struct MeanShiftProblem {
  FeatureMaps points; // (B, D, N), of any length
  FeatureMaps seeds;  // (B, D, S), likewise
  double bandwidth_deg;
  double tolerance;
  int64_t max_steps;

  float *modes;     // (B, S, D) contiguous, written: unit lines, component of largest magnitude
                    // positive; zero for a zero seed
  int32_t *support; // (B, S) contiguous, written: points in the window of the mode
};

Status mean_shift_cpu(const MeanShiftProblem &problem, Simd simd, const ParallelFor &parallel_for);

/// The same on the current CUDA device, where all pointers of the problem are; `workspace` has as
/// many bytes as the first function says. Bad input sets `*input_status`, zero before, to a Status.
/// Bitwise the same for any strides and other seeds.
int64_t mean_shift_cuda_workspace(const MeanShiftProblem &problem);
CudaStatus mean_shift_cuda(const MeanShiftProblem &problem, void *workspace, int32_t *input_status,
                           CudaStream stream);

} // namespace bottomup
