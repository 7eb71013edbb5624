// Which pixels of a padded image take part in clustering.
#pragma once

#include <cstdint>

#include "common/cuda_status.h"

namespace bottomup {

struct MaskTask {
  const float *logits; // (rows, columns), or null: then all pixels of the image take part
  float threshold;     // that a logit must reach
  int64_t height, width, rows, columns;
  bool *mask; // (rows, columns), written; false in the padding
};

CudaStatus make_mask(const MaskTask &task, CudaStream stream);

} // namespace bottomup
