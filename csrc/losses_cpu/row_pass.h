// The pass over the rows of one image that gives the pixelwise terms and their gradient.
#pragma once

#include <cstdint>

#include "common/simd.h"
#include "contracts/losses.h"
#include "losses_cpu/segment_space.h"

namespace bottomup {

/// Rows of an image that are one task. A multiple of the coarsest scale, so that only one row below
/// and one a scale above are computed twice; their results are the same both times.
inline constexpr int64_t kRowsPerTask = 64;

/// Terms and gradient of the rows [first_row, first_row + kRowsPerTask) of one image.
///
/// sums: (loss_terms), the rows' share of the image's terms, written but for the contrast. easy:
/// (N) of the image, 1 written for pixels nearer than 0.97 to their entity's line; null if nobody
/// asks. Returns false if a feature is not finite.
bool losses_of_rows(const LossesProblem &problem, int64_t image, const ImageLines &lines,
                    int64_t first_row, Simd simd, double *sums, uint8_t *easy);

} // namespace bottomup
