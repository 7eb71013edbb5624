// From the mode of every pixel to segments and their scores.
#pragma once

#include <cmath>
#include <numbers>
#include <vector>

#include "bottomup/types.h"

namespace bottomup {

inline double cosine_of(double degrees) { return std::cos(degrees * (std::numbers::pi / 180)); }

/// Segments from modes: connected pieces if asked for, specks folded, numbered 1..n by first
/// appearance; 0 is background.
///
/// `index` (H, W) is the position of each pixel's mode, -1 for background; `modes` (M, D) are
/// lines.
LabelMap pieces(const Grid<int32_t> &index, const float *modes, int64_t num_modes,
                int64_t dimensions, bool split, int64_t min_area);

/// Numbers on segments 1..n, at position label - 1; 0 for labels without pixels.
struct SegmentScores {
  std::vector<double> likeness;  // mean of what was given
  std::vector<double> cosine;    // mean |cos| between the pixels and their segment's line
  std::vector<double> stability; // share of the pixels in the window that stay in a tighter one
};

/// `likeness` and `cosine` are (H, W), as `labels` are, which has no label below 0.
SegmentScores segment_scores(const LabelMap &labels, const float *likeness, const float *cosine,
                             double bandwidth_deg);

} // namespace bottomup
