// The mean-shift partition of the pixels of each image (equation 10): modes of their lines are
// found, and every pixel takes the nearest one.
//
//   labels[p]    1, 2, ... in order of first appearance; 0 where the mask leaves the pixel out
//   score[p]     |cos| between the pixel's line and the mode of its segment; 0 where left out
//   modes        unit lines, their component of largest magnitude positive, those of most support
//                first; the rest of the rows are zero
//   support[m]   pixels in the window of a mode
//
// Modes are sought on subsets of the pixels and verified on all of them: a pass over an image
// measures every window, moves each mode by one step, assigns every pixel, and sets aside pixels
// that lie in no window, among which further modes are sought. The image is done when a pass moves
// no mode by more than 1/8192 of the bandwidth, 1/16 with `fast`, and finds nothing new. Where a
// sample does not tell the modes, because steps on all pixels do not fade or others have
// nearly their support, they climb on up to 2^18 pixels in between. Not so with `fast`, which also
// starts from fewer seeds, makes four passes at most and seeks further modes once: of features that
// do not separate it makes other segments, many times faster. Images of at most 4096 pixels or 2^17
// numbers are climbed as a whole; with `fast` up to 4096 pixels are compared with one another, and
// those with the most others in their window climb until a step is 1/8 of the bandwidth. Where no
// mode has `min_support` pixels, the image is one segment of score 0.
//
// Products are float32; with `fast`, on processors with AMX, those with features are of bfloat16,
// summed in float32. Features are read once or twice in most images; the table of pixels x modes
// is never stored. The workspace is, for one image at a time, some thousand pixels, up to 2^18 in
// the difficult case, and a line and a count for each mode in each of 32 parts of the image.
//
// The outputs do not depend on the sign of a feature, on the strides or on the number of threads,
// and those of an image do not depend on the others': bitwise, for one instruction set.
#pragma once

#include <cstdint>

#include "common/cuda_status.h"
#include "common/feature_maps.h"
#include "common/parallel.h"
#include "common/simd.h"
#include "common/status.h"

namespace bottomup {

struct ClusterSettings {
  double bandwidth_deg; // in (0, 45]
  int64_t min_support;  // at least 1
  int64_t rounds;       // most passes over an image, at least 1
  bool fast;
};

struct ClusterProblem {
  FeatureMaps features; // D at least 1
  const bool *mask;     // (B, N) contiguous, true where a pixel takes part; null for all of them
  int64_t width;        // W: neighbours above one another are W pixels apart
  ClusterSettings settings;
  int64_t max_modes; // M, at least 1: modes beyond that, those of least support, are left out

  int32_t *labels;       // (B, N) contiguous, written
  int32_t *num_segments; // (B)
  float *score;          // (B, N)
  float *modes;          // (B, M, D)
  int32_t *support;      // (B, M)
  int32_t *num_modes;    // (B)
};

/// An empty batch or image is ok. On any other status the outputs are unspecified. Non-finite
/// features are found under the mask, too.
Status cluster_cpu(const ClusterProblem &problem, Simd simd, const ParallelFor &parallel_for);

/// The same on the current CUDA device, where all pointers of the problem are; `workspace` has as
/// many bytes as the first function says for this device. Bad input sets `*input_status`, zero
/// before, to a Status.
///
/// Seeds climb on all pixels, in up to `rounds` rounds, but no more than 8, of up to 12 steps, and
/// the kept modes 8 steps more; the host looks at none of them. Up to 1024 modes are found. With
/// `fast`, bandwidths of at least 10 degrees and up to 256 dimensions, products are of float16,
/// summed in float32, from compute capability 8.0 on: modes and score are then good to about 1e-3.
/// Bitwise the same for any strides and other images of the batch, on devices of one kind.
int64_t cluster_cuda_workspace(const ClusterProblem &problem);
CudaStatus cluster_cuda(const ClusterProblem &problem, void *workspace, int32_t *input_status,
                        CudaStream stream);

} // namespace bottomup
