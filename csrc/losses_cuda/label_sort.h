// The pixels of every label of every image, by a stable counting sort on the device.
#pragma once

#include <cstdint>

#include "common/host_device.h"
#include "common/launch.h"
#include "common/workspace.h"

namespace bottomup {

/// Labels of a batch and, once sorted, the pixels of each: those of label i of an image, in raster
/// order, are pixels[first[i]] .. pixels[first[i + 1] - 1]. Labels outside -1..K count as ignored.
/// Pointers are the device's.
struct LabelSort {
  LabelSort(const int32_t *labels, int64_t batch, int64_t pixels, int64_t num_entities,
            Workspace &memory);

  BOTTOMUP_HOST_DEVICE const int32_t *first_of(int64_t image) const {
    return first + image * (groups + 1);
  }
  BOTTOMUP_HOST_DEVICE const int32_t *pixels_of(int64_t image) const {
    return sorted + image * pixels;
  }

  const int32_t *labels;         // (B, N)
  int32_t batch, pixels, groups; // B, N, K + 1
  int32_t chunks;                // of an image's pixels
  int32_t *starts;               // (B, chunks, K + 1): where a chunk's pixels of a label begin
  int32_t *first;                // (B, K + 2)
  int32_t *sorted;               // (B, N)
};

/// Counts the labels: fills `first`. `input_status` gets Status::labels_out_of_range.
void count_labels(const LabelSort &sort, int32_t *input_status, Launcher &launches);

/// Fills `sorted`; the labels must have been counted.
void sort_pixels(const LabelSort &sort, Launcher &launches);

} // namespace bottomup
