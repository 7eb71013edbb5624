// The modes of a set of points, from few seeds.
#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>
#include <vector>

#include "meanshift_cpu/climbing.h"
#include "meanshift_cpu/point_set.h"

namespace bottomup {

inline constexpr double kSame = 1.0 / 16; // part of the bandwidth within which modes are one

struct Window {
  explicit Window(double bandwidth_deg)
      : bandwidth(bandwidth_deg * std::numbers::pi / 180), cosine(part(1)) {}

  /// The cosine of a part of the bandwidth.
  float part(double fraction) const { return static_cast<float>(std::cos(fraction * bandwidth)); }

  double bandwidth; // radians
  float cosine;
};

struct Modes {
  explicit Modes(int64_t dimensions) : lines(dimensions) {}

  int64_t count() const { return lines.count(); }
  void append(const Modes &other);
  /// These modes in another order, or some of them.
  Modes chosen(const std::vector<int32_t> &order) const;

  Lines lines;
  std::vector<double> support; // weight of the points in the window
};

/// Positions of the modes to keep: by descending support, equal ones by position, unless within the
/// bandwidth of a kept one; those with less than `min_support` not at all.
std::vector<int32_t> kept_modes(const Modes &modes, const Window &window, double min_support,
                                Simd simd);

/// How carefully modes are sought.
struct Effort {
  double tolerance; // radians: steps of modes at rest
  uint32_t rounds;  // of seeds, at most
  bool between;     // start inside windows, too, far from their modes
};
inline constexpr Effort kExactly{1e-6, 64, true}, kRoughly{1e-3, 64, true}, kFast{5e-2, 3, false};

struct Search {
  Window window;
  double min_support;
  bool thorough; // start from points without near ones, too
  Effort effort;
};

/// Every mode found outside the windows of the `known` ones, and not one of the `rejected`; which
/// to keep is the caller's to choose.
Modes find_modes(const PointSet &points, const Lines &known, const Lines &rejected,
                 const Search &search, Simd simd, const ParallelFor &parallel_for);

/// Modes of few points, nearly: from the points that have the most others in their window, none in
/// the window of another, until steps are 1/8 of the bandwidth, all at once. Which to keep is the
/// caller's to choose.
Modes densest_modes(const PointSet &points, const Window &window, double min_support, Simd simd,
                    const ParallelFor &parallel_for);

/// Whether some of the lines are near enough to one another for a mode that starts from them.
bool has_dense_lines(const Lines &lines, const Search &search, Simd simd);

/// Climbs until the lines rest, no step being longer than `tolerance`; those that come near one of
/// `old`, or near one before them, by `same` of the bandwidth, are left out.
Lines climb_to_modes(const Climb &points, Lines lines, const Lines &old, const Window &window,
                     double tolerance, double same = kSame);

} // namespace bottomup
