// Which points lie in each other's windows.
#pragma once

#include <cstdint>
#include <vector>

#include "common/parallel.h"
#include "meanshift_cpu/point_set.h"

namespace bottomup {

/// Compares every point with every other one.
class Neighbourhoods {
public:
  /// `window` is the cosine of the bandwidth.
  Neighbourhoods(const PointSet &points, float window, Simd simd, const ParallelFor &parallel_for);

  /// The points with the most others in their window first, none in the window of another; those
  /// with fewer than `least`, itself included, are left out.
  std::vector<int32_t> peaks(int32_t least) const;

private:
  template <typename Products>
  void compare(const PointSet &points, float window, Simd simd, const ParallelFor &parallel_for);

  int64_t words_;              // of kTile bits for each point
  std::vector<uint64_t> near_; // (points, words)
  std::vector<int32_t> sizes_; // of each neighbourhood
};

} // namespace bottomup
