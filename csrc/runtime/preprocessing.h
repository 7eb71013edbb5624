// From integer pixels to the network's input.
#pragma once

#include "bottomup/segmenter.h"
#include "runtime/resize.h"

namespace bottomup {

/// Pixels in [0, 1], grey repeated over the three channels. Throws Error for what is no image.
Planes to_unit_range(const ImageView &image, const PreprocessingSettings &settings);

/// Subtracts the mean of each channel and divides by its deviation.
void normalise(Planes &image, const PreprocessingSettings &settings);

} // namespace bottomup
