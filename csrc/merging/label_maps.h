// What the functions on label maps share.
#pragma once

#include <string>
#include <vector>

#include "bottomup/types.h"

namespace bottomup {

/// Throws Error unless this is a non-empty map of labels from `lowest` up.
void check_labels(const LabelMap &labels, int32_t lowest, const std::string &name);

/// Pixels of every label from 0 to the highest; those below 0 are not counted.
std::vector<int64_t> label_areas(const LabelMap &labels);

/// For every pixel of a mask (H, W), the position of the nearest pixel where it is zero: of equally
/// near ones that of the leftmost column, and there the uppermost. At least one pixel is zero.
Grid<int64_t> nearest_zero(const Grid<uint8_t> &mask);

} // namespace bottomup
