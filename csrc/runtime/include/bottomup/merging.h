// Label maps as pieces, and finer label maps merged into coarser ones.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "bottomup/types.h"

namespace bottomup {

/// How alike the lines of two labels are, higher is closer.
using Similarity = std::function<double(int32_t speck, int32_t neighbour)>;

/// Numbers the labels of a map 1..n by first appearance in raster order; 0 and -1 stay.
BOTTOMUP_API LabelMap relabel_by_appearance(const LabelMap &labels);

/// Makes every connected piece of every label a segment of its own, numbered by first appearance;
/// 0 and -1 stay. `connectivity` is 1 for 4 neighbours or 2 for 8.
BOTTOMUP_API LabelMap split_components(const LabelMap &labels, int connectivity = 1);

/// Folds every segment of fewer than `min_area` pixels into the 4-neighbour it matches best: of the
/// highest similarity, then the longest shared border, then the lowest label. The smallest goes
/// first. Background is a neighbour like any other, ignored pixels are none. Labels of folded
/// segments are left unused.
BOTTOMUP_API LabelMap fold_specks(const LabelMap &labels, int64_t min_area,
                                  const Similarity &similarity = nullptr);

/// A finer label map of the part of an image that lies in columns [x0, x1) and rows [y0, y1).
struct Patch {
  LabelMap labels; // 0 is no segment
  int64_t x0 = 0, y0 = 0, x1 = 0, y1 = 0;
};

struct RefineOptions {
  int64_t min_area = 100;  // pixels; smaller segments of a patch are ignored
  double refine_iou = 0.8; // IoU in (0, 1] within the patch from which two segments are the same
  double contain = 0.9;    // share in (0, 1] of a segment that must lie inside what it subdivides
};

/// Merges finer patches, one after another, into a coarse label map (paper, Section 4.1), and
/// numbers the result by first appearance. A segment of a patch, the largest first, replaces the
/// one it coincides with; else it subdivides the one that contains it, unless a patch border inside
/// the image cuts it; else it is dropped. No write takes more than half of a segment.
BOTTOMUP_API LabelMap refine(const LabelMap &labels, const std::vector<Patch> &patches,
                             const RefineOptions &options = {});

/// Joins the segments that lie in one segment of a coarser label map, as the parts of an object
/// that is seen whole there: those with more than half of their pixels in the same one, if it has
/// at least `min_area`. Background stays. The result is numbered by first appearance.
BOTTOMUP_API LabelMap join_fragments(const LabelMap &labels, const LabelMap &coarse,
                                     double min_area);

} // namespace bottomup
