// The mean-shift partition (equation 10) of many small sets of points, each on its own: the pieces
// of an image's foreground.
//
//   index[p]   of the point's mode in `modes`, counted over all regions; -1 for a point of none
//   score[p]   |cos| to it, in [0, 1]; 0 for a point of none
//   modes      those of a region after those of the region before, the largest support first; a
//              region without a mode of `min_support` points has one zero line
//
// In regions of more than 512 points, modes are sought among as many of them at equal distances,
// and those that may reach `min_support` climb on 1024 points at most. The workspace is a copy of
// the points of a region for each thread, and a number a point. Bitwise the same for any number of
// threads and other regions, for one instruction set.
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
  const int32_t *regions; // (pixels): from 0 without gaps, or -1 for none
  double bandwidth_deg;   // in (0, 45]
  int64_t min_support;    // at least 1

  int32_t *index;           // (pixels), written
  float *score;             // (pixels), written
  std::vector<float> modes; // (modes, D), written
};

Status cluster_regions_cpu(ClusterRegionsProblem &problem, Simd simd,
                           const ParallelFor &parallel_for);

} // namespace bottomup
