// Features to segments by mean shift on lines; any model's features.
//
// All functions are safe to call from several threads at once. Results do not depend on the number
// of threads: bitwise the same for the same input and instruction set, and the same as those of the
// Python functions of these names.
#pragma once

#include <cstdint>
#include <vector>

#include "bottomup/types.h"

namespace bottomup {

/// Features (D, H, W) of any length and sign, in memory that outlives the view; strides in floats.
struct FeatureView {
  const float *data = nullptr;
  int64_t dimensions = 0, height = 0, width = 0;
  int64_t channel_stride = 0, pixel_stride = 1;

  /// Contiguous (D, H, W).
  static FeatureView planar(const float *data, int64_t dimensions, int64_t height, int64_t width) {
    return {data, dimensions, height, width, height * width, 1};
  }
  /// Contiguous (H, W, D).
  static FeatureView interleaved(const float *data, int64_t height, int64_t width,
                                 int64_t dimensions) {
    return {data, dimensions, height, width, 1, dimensions};
  }
  int64_t pixels() const { return height * width; }
};

struct ClusterOptions {
  double bandwidth_deg = 45; // half opening angle of the window, degrees in (0, 45]
  int64_t min_support = 10;  // pixels a mode needs in its window to be kept
  bool fast = false;         // modes rest within 1/16 or 1/8 of the bandwidth, not 1/8192
  int64_t rounds = 8;        // passes over the image at most
  int64_t max_modes = 1024;  // of more, those of least support are left out
};

struct Clusters {
  LabelMap labels;              // 1..n in order of first appearance; 0 outside the mask
  int32_t num_segments = 0;     // n
  Grid<float> score;            // |cos| between a pixel and the mode of its segment
  std::vector<float> modes;     // (M, D) unit lines, the best supported first
  std::vector<int32_t> support; // (M), pixels in the window of each mode
};

struct Assignment {
  std::vector<int32_t> index; // position of the nearest mode; -1 without modes
  std::vector<float> score;   // |cos| to it
};

struct RegionClusters {
  std::vector<int32_t> index; // (N), position of each point's mode; -1 where it takes no part
  std::vector<float> score;   // (N), |cos| to it
  std::vector<float> modes;   // (M, D), those of a region after those of the one before
};

struct ShiftedSeeds {
  std::vector<float> modes;     // (S, D) unit lines, component of largest magnitude positive
  std::vector<int32_t> support; // (S), points in each mode's window
};

/// The partition of an image's pixels by the modes of their lines (equation 10). `mask`, (H, W),
/// tells the pixels that take part; null for all.
BOTTOMUP_API Clusters cluster(const FeatureView &features, const bool *mask = nullptr,
                              const ClusterOptions &options = {});

/// Moves (S, D) seeds uphill on (N, D) points until a step is no longer than `tolerance`.
BOTTOMUP_API ShiftedSeeds mean_shift(const float *points, int64_t num_points, const float *seeds,
                                     int64_t num_seeds, int64_t dimensions,
                                     double bandwidth_deg = 45, double tolerance = 1e-6,
                                     int64_t max_steps = 200);

/// The nearest of (M, D) unit lines for every pixel, the earliest of equally near ones; `fast`
/// multiplies in bfloat16 on processors with AMX.
BOTTOMUP_API Assignment assign(const FeatureView &features, const float *modes, int64_t num_modes,
                               bool fast = false);

/// Partitions every region of some points on its own; `regions`, one a point, numbers them from 0,
/// and points of -1 take no part.
BOTTOMUP_API RegionClusters cluster_regions(const FeatureView &points, const int32_t *regions,
                                            double bandwidth_deg = 45, int64_t min_support = 10);

/// Threads that the library uses beside its callers' own, in all calls together; by default one
/// less than the processor has. Throws unless `count` is in [0, 1024].
BOTTOMUP_API void set_helper_threads(int count);

} // namespace bottomup
