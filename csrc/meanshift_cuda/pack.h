// Copies features as lines, one pixel a row.
#pragma once

#include <cstdint>

#include "common/feature_maps.h"
#include "common/launch.h"
#include "common/status.h"

namespace bottomup {

/// x = f / max(|f|, 1e-6), zero where the mask leaves a pixel out and beyond the image.
template <typename Packed> struct PackedLines {
  Packed *values;     // (B, rows, padded)
  int64_t rows;       // pixels of one image, filled up to a multiple of kPackedPixels
  int64_t padded;     // channels
  uint32_t *has_line; // (B, rows / 32), a bit for each pixel that a window can hold; or null
};

/// NaN and Inf, under the mask too, set `*input_status` to `non_finite` and give a zero line.
template <typename Packed>
void pack(Launcher &run, const FeatureMaps &features, const bool *mask,
          const PackedLines<Packed> &lines, Status non_finite, int32_t *input_status);

} // namespace bottomup
