#include "contracts/cluster_regions.h"

#include "meanshift_cpu/climbing.h"
#include "meanshift_cpu/mode_finding.h"

namespace bottomup {
namespace {

/// Regions are many and small: each is one thread's.
void serial(int64_t count, int64_t, const RangeBody &body) {
  if (count > 0)
    body(0, count);
}

/// Clusters one region; its index counts from 0. Returns its lines, none if a point is not finite.
Lines cluster_region(const ClusterRegionsProblem &problem, int64_t region, Simd simd) {
  const int64_t begin = problem.offsets[region], count = problem.offsets[region + 1] - begin;
  const int64_t dimensions = problem.points.dimensions;
  const ParallelFor parallel_for = serial;
  std::vector<int32_t> members = range(count);
  for (int32_t &member : members)
    member += static_cast<int32_t>(begin);
  PointSet points(dimensions);
  if (!points.add(problem.points, 0, members, 1, simd))
    return Lines(dimensions);
  const Lines none(dimensions);
  const Search search{Window(problem.bandwidth_deg), static_cast<double>(problem.min_support), true,
                      kExactly};
  const Modes found = find_modes(points, none, none, search, simd, parallel_for);
  Modes modes = found.chosen(kept_modes(found, search.window, search.min_support, simd));
  for (int64_t i = 0; i < modes.count(); ++i)
    make_canonical(modes.lines.row(i), dimensions);
  if (modes.count() == 0)
    return Lines(dimensions, 1);
  const Climb climb(points, search.window.cosine, simd, parallel_for);
  climb.assign(modes.lines, problem.index + begin, problem.score + begin);
  return std::move(modes.lines);
}

bool ascending(const ClusterRegionsProblem &problem) {
  for (int64_t region = 0; region < problem.regions; ++region)
    if (problem.offsets[region] > problem.offsets[region + 1])
      return false;
  return problem.offsets[0] == 0 && problem.offsets[problem.regions] == problem.points.pixels;
}

} // namespace

Status cluster_regions_cpu(ClusterRegionsProblem &problem, Simd simd,
                           const ParallelFor &parallel_for) {
  if (!ascending(problem))
    return Status::bad_offsets;
  std::fill_n(problem.index, problem.points.pixels, 0);
  std::fill_n(problem.score, problem.points.pixels, 0.0f);
  std::vector<Lines> lines(problem.regions, Lines(problem.points.dimensions));
  parallel_for(problem.regions, 1, [&](int64_t begin, int64_t end) {
    for (int64_t region = begin; region < end; ++region)
      lines[region] = cluster_region(problem, region, simd);
  });
  int32_t count = 0;
  for (int64_t region = 0; region < problem.regions; ++region) {
    if (lines[region].count() == 0)
      return Status::non_finite_points;
    for (int64_t p = problem.offsets[region]; p < problem.offsets[region + 1]; ++p)
      problem.index[p] += count;
    count += static_cast<int32_t>(lines[region].count());
    problem.modes.insert(problem.modes.end(), lines[region].values.begin(),
                         lines[region].values.end());
  }
  return Status::ok;
}

} // namespace bottomup
