// Where to start: points with many others near them.
#pragma once

#include <cstdint>
#include <vector>

#include "meanshift_cpu/point_set.h"

namespace bottomup {

/// Up to `limit` of the candidate points, the densest first, none in the window of another one.
///
/// The density of a point is a lower bound on the candidates in its window, itself included: only
/// points are compared whose lines fall into one cell of a random partition of the projective
/// sphere, which near lines often share. Points of density below `least` are no seeds. `turn`
/// chooses the partition.
std::vector<int32_t> dense_seeds(const PointSet &points, std::vector<int32_t> candidates,
                                 float window, int32_t least, int64_t limit, uint32_t turn,
                                 Simd simd);

} // namespace bottomup
