// The nearest mode of every pixel by |cos|, the earliest of equal ones.
#pragma once

#include <cstdint>

#include "common/feature_maps.h"
#include "common/launch.h"

namespace bottomup {

struct NearestTask {
  FeatureMaps features;
  bool normalise; // else the features are lines
  // Those are packed float16, for tensor cores; modes have as many channels.
  bool float16;
  const bool *mask;

  const float *modes; // (B, mode_rows, mode_stride)
  int64_t mode_rows;
  int64_t mode_stride;      // at least D
  const int32_t *num_modes; // (B)
  int32_t most_modes;       // that num_modes may say
  int32_t none;             // the index in an image without modes

  const int32_t *wanted; // (B), zero: nothing is to be done for an image; or null

  // Each written unless null.
  int32_t *index; // (B, N), -1 where the mask leaves the pixel out
  float *score;   // (B, N)
  // A bit for each pixel that has a line, `has_line`, and none within the window.
  uint32_t *uncovered; // (B, words of has_line)
  const uint32_t *has_line;
  int64_t words;
  float window;

  int32_t *input_status;
};

void find_nearest(Launcher &run, const NearestTask &task);

} // namespace bottomup
