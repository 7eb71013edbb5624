#include "contracts/cluster_regions.h"

#include <optional>
#include <span>

#include "meanshift_cpu/climbing.h"
#include "meanshift_cpu/mode_finding.h"

namespace bottomup {
namespace {

constexpr int64_t kSearched = 512; // points of a region among which modes are sought
constexpr int64_t kClimbed = 4096; // and on which those found climb
constexpr double kPromising = 0.5; // part of the support that such a mode needs among them
constexpr double kAtRest = 1e-3;   // radians, a step of a mode of such a region

/// Regions are many and small: each is one thread's.
void serial(int64_t count, int64_t, const RangeBody &body) {
  if (count > 0)
    body(0, count);
}

class Regions {
public:
  Regions(ClusterRegionsProblem &problem, Simd simd)
      : problem_(problem), simd_(simd), window_(problem.bandwidth_deg),
        order_(problem.order ? std::vector<int32_t>() : range(problem.offsets[problem.regions])) {}

  int64_t size(int64_t region) const {
    return problem_.offsets[region + 1] - problem_.offsets[region];
  }

  /// Lines that rest near all modes of a large region, found among some of its points; nothing if
  /// one of those is not finite.
  std::optional<Lines> search(int64_t region) const {
    PointSet sample(problem_.points.dimensions);
    if (!add_some(region, kSearched, sample))
      return std::nullopt;
    const Search rough{window_, kPromising * static_cast<double>(problem_.min_support), false,
                       kRoughly};
    const Modes found = find_modes(sample, none(), none(), rough, simd_, serial);
    std::vector<int32_t> promising = range(found.count());
    std::erase_if(promising, [&](int32_t i) { return found.support[i] < rough.min_support; });
    return found.chosen(promising).lines;
  }

  /// Clusters a region; its index counts from 0. Returns its lines, none if a point is not finite.
  Lines cluster(int64_t region, const std::optional<Lines> &seeds,
                const ParallelFor &parallel_for) const {
    const int64_t begin = problem_.offsets[region], dimensions = problem_.points.dimensions;
    PointSet points(dimensions);
    if (!points.add(problem_.points, 0, members(region), 1, simd_))
      return Lines(dimensions);
    const Climb climb(points, window_.cosine, simd_, parallel_for);
    const auto min_support = static_cast<double>(problem_.min_support);
    Modes found(dimensions);
    if (seeds) {
      PointSet some(dimensions);
      if (!add_some(region, kClimbed, some))
        return Lines(dimensions);
      const Climb climb_some(some, window_.cosine, simd_, parallel_for);
      found.lines = climb_to_modes(climb_some, *seeds, none(), window_, kAtRest);
      found.support = climb_some.support(found.lines);
    } else {
      found = find_modes(points, none(), none(), {window_, min_support, true, kExactly}, simd_,
                         parallel_for);
    }
    Modes modes = found.chosen(kept_modes(found, window_, min_support, simd_));
    for (int64_t i = 0; i < modes.count(); ++i)
      make_canonical(modes.lines.row(i), dimensions);
    if (modes.count() == 0)
      return Lines(dimensions, 1);
    climb.assign(modes.lines, problem_.index + begin, problem_.score + begin);
    return std::move(modes.lines);
  }

private:
  std::span<const int32_t> members(int64_t region) const {
    const int32_t *order = problem_.order ? problem_.order : order_.data();
    return {order + problem_.offsets[region], static_cast<size_t>(size(region))};
  }
  /// Adds at most `count` points of a region, at equal distances, that stand for all of them.
  bool add_some(int64_t region, int64_t count, PointSet &points) const {
    const std::vector<int32_t> chosen = evenly_spaced(members(region), count);
    const float weight = static_cast<float>(size(region)) / static_cast<float>(chosen.size());
    return points.add(problem_.points, 0, chosen, weight, simd_);
  }
  Lines none() const { return Lines(problem_.points.dimensions); }

  ClusterRegionsProblem &problem_;
  Simd simd_;
  Window window_;
  std::vector<int32_t> order_;
};

bool ascending(const ClusterRegionsProblem &problem) {
  for (int64_t region = 0; region < problem.regions; ++region)
    if (problem.offsets[region] > problem.offsets[region + 1])
      return false;
  return problem.offsets[0] == 0 &&
         (problem.order || problem.offsets[problem.regions] == problem.points.pixels);
}

} // namespace

Status cluster_regions_cpu(ClusterRegionsProblem &problem, Simd simd,
                           const ParallelFor &parallel_for) {
  if (!ascending(problem))
    return Status::bad_offsets;
  const int64_t count = problem.offsets[problem.regions];
  std::fill_n(problem.index, count, 0);
  std::fill_n(problem.score, count, 0.0f);
  const Regions regions(problem, simd);
  std::vector<Lines> lines(problem.regions, Lines(problem.points.dimensions));
  std::vector<std::optional<Lines>> seeds(problem.regions);
  parallel_for(problem.regions, 1, [&](int64_t begin, int64_t end) {
    for (int64_t region = begin; region < end; ++region) {
      if (regions.size(region) > kSearched)
        seeds[region] = regions.search(region);
      if (regions.size(region) <= kClimbed)
        lines[region] = regions.cluster(region, seeds[region], serial);
    }
  });
  int32_t modes = 0;
  for (int64_t region = 0; region < problem.regions; ++region) {
    if (regions.size(region) > kClimbed && seeds[region])
      lines[region] = regions.cluster(region, seeds[region], parallel_for);
    if (lines[region].count() == 0)
      return Status::non_finite_points;
    for (int64_t p = problem.offsets[region]; p < problem.offsets[region + 1]; ++p)
      problem.index[p] += modes;
    modes += static_cast<int32_t>(lines[region].count());
    problem.modes.insert(problem.modes.end(), lines[region].values.begin(),
                         lines[region].values.end());
  }
  return Status::ok;
}

} // namespace bottomup
