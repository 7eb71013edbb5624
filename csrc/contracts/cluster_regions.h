// The mean-shift partition (equation 10) of many small sets of points, each on its own: the pieces
// of an image's foreground.
//
//   index[p]   of the point's mode in `modes`, counted over all regions
//   score[p]   |cos| to it, in [0, 1]
//   modes      those of a region after those of the region before, the largest support first; a
//              region without a mode of `min_support` points has one zero line
//
// In regions of more than 512 points, modes are sought among as many of them at equal distances,
// and those that may reach `min_support` climb on 4096 points at most. The workspace is a copy of
// the points of a region for each thread. Bitwise the same for any number of threads and other
// regions, for one instruction set.
#pragma once

#include <cstdint>
#include <vector>

#include "common/feature_maps.h"
#include "common/parallel.h"
#include "common/simd.h"
#include "common/status.h"

namespace bottomup {

struct ClusterRegionsProblem {
  FeatureMaps points;     // one image, (D, pixels)
  const int32_t *order;   // (N) of them sorted by region, or null where they are: N = pixels
  int64_t regions;        // R
  const int64_t *offsets; // (R + 1): region r is offsets[r] to offsets[r + 1] of that order
  double bandwidth_deg;   // in (0, 45]
  int64_t min_support;    // at least 1

  int32_t *index;           // (N) in that order, written
  float *score;             // (N), written
  std::vector<float> modes; // (modes, D), written
};

Status cluster_regions_cpu(ClusterRegionsProblem &problem, Simd simd,
                           const ParallelFor &parallel_for);

} // namespace bottomup
