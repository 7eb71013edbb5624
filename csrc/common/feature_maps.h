// What an op takes as features.
#pragma once

#include <cstdint>

#include "common/data_type.h"

namespace bottomup {

/// The features of a batch: (B, D, N), any strides, in elements.
struct FeatureMaps {
  int64_t batch;      // B, images
  int64_t dimensions; // D, channels of a feature
  int64_t pixels;     // N of one image
  const void *data;
  DataType type;
  int64_t batch_stride;
  int64_t channel_stride;
  int64_t pixel_stride;
};

} // namespace bottomup
