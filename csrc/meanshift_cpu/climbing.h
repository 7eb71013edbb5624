// Steps of mean shift on a set of points.
#pragma once

#include <cstdint>
#include <vector>

#include "common/parallel.h"
#include "meanshift_cpu/point_set.h"

namespace bottomup {

class Climb {
public:
  /// `window` is the cosine of the bandwidth. Refers to the points, which must outlive it.
  Climb(const PointSet &points, float window, Simd simd, const ParallelFor &parallel_for)
      : points_(points), window_(window), simd_(simd), parallel_for_(parallel_for) {}

  /// Replaces the chosen lines by normalise(sum over their windows of (m . x) x); returns how far
  /// each moved.
  std::vector<double> step(Lines &lines, const std::vector<int32_t> &chosen) const;

  /// The weight of the points in the window of each line.
  std::vector<double> support(const Lines &lines) const;

  /// The largest |cos| of each point to a line, at most 1; 0 without lines.
  std::vector<float> nearest(const Lines &lines) const;

  /// The position of the nearest line of each point, the earliest of equal ones, and |cos| to it.
  void assign(const Lines &lines, int32_t *index, float *score) const;

  Simd simd() const { return simd_; }

private:
  /// What `body` gives for the kind of products that the points are prepared for.
  template <typename Body> auto with_products(const Body &body) const;
  template <typename Products>
  std::vector<double> step_by(Lines &lines, const std::vector<int32_t> &chosen) const;

  const PointSet &points_;
  float window_;
  Simd simd_;
  const ParallelFor &parallel_for_;
};

/// |cos| of every line and every other one, (lines, others).
std::vector<float> similarities(const Lines &lines, const Lines &others, Simd simd);

} // namespace bottomup
