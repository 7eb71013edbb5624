// One look at every pixel of an image: assignment to the nearest mode, one step of each mode, and
// the pixels that lie in no window.
#pragma once

#include <cstdint>
#include <vector>

#include "common/feature_maps.h"
#include "common/parallel.h"
#include "meanshift_cpu/mode_finding.h"

namespace bottomup {

inline constexpr int32_t kLeftOut = -1; // by the mask
inline constexpr int32_t kNoLine = -2;  // a zero feature, which belongs to the first mode

struct FullPass {
  const FeatureMaps &features;
  int64_t image;
  const bool *mask; // (N) of the image, or null
  const Lines &modes;
  Window window;
  int64_t width; // pixels of a row of the image
  bool hinted;   // `index` already tells from an earlier pass where to look first
  bool step;     // measure windows, too, and move the modes
  bool fast;     // products may be of bfloat16

  int32_t *index; // (N) of the image, written: position in `modes`, kLeftOut or kNoLine
  float *score;   // (N), written
};

/// Some of the pixels without a window, each standing for `weight` of them.
struct Uncovered {
  Lines lines;
  float weight;
};

struct PassResult {
  bool finite;                      // else a feature is NaN or Inf and nothing else is valid
  Modes moved;                      // with the support they had before the step
  double largest_move;              // distance on the sphere
  std::vector<Uncovered> uncovered; // of each part of the image
  int64_t num_uncovered;            // pixels in no window
};

PassResult run_full_pass(const FullPass &pass, Simd simd, const ParallelFor &parallel_for);

} // namespace bottomup
