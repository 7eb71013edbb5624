#include "contracts/cluster_regions.h"

#include <algorithm>
#include <atomic>
#include <numeric>
#include <span>

#include "meanshift_cpu/climbing.h"
#include "meanshift_cpu/mode_finding.h"

namespace bottomup {
namespace {

constexpr int64_t kSearched = 512; // points of a region among which modes are sought
constexpr int64_t kClimbed = 1024; // and on which those found climb
constexpr double kPromising = 0.5; // part of the support that such a mode needs among them
constexpr double kAtRest = 1e-2;   // radians, a step of a mode of such a region

/// Regions are many and small: each is one thread's.
const ParallelFor serial = [](int64_t count, int64_t, const RangeBody &body) {
  if (count > 0)
    body(0, count);
};

/// The points of each region, in their order.
class Members {
public:
  /// Of regions numbered from 0 without gaps; otherwise it is not valid.
  explicit Members(const ClusterRegionsProblem &problem) {
    const int64_t points = problem.points.pixels;
    for (int64_t p = 0; p < points; ++p) {
      const int64_t region = problem.regions[p];
      if (region < -1 || region >= points)
        return;
      if (region >= count())
        ends_.resize(region + 1);
      if (region >= 0)
        ++ends_[region];
    }
    valid_ = std::ranges::find(ends_, 0) == ends_.end();
    std::vector<int64_t> next(count());
    std::exclusive_scan(ends_.begin(), ends_.end(), next.begin(), int64_t{0});
    std::partial_sum(ends_.begin(), ends_.end(), ends_.begin());
    points_.resize(count() > 0 ? ends_.back() : 0);
    for (int64_t p = 0; p < points; ++p)
      if (problem.regions[p] >= 0)
        points_[next[problem.regions[p]]++] = static_cast<int32_t>(p);
  }

  bool valid() const { return valid_; }
  int64_t count() const { return static_cast<int64_t>(ends_.size()); }
  std::span<const int32_t> of(int64_t region) const {
    const int64_t begin = region > 0 ? ends_[region - 1] : 0;
    return {points_.data() + begin, static_cast<size_t>(ends_[region] - begin)};
  }

private:
  std::vector<int64_t> ends_;
  std::vector<int32_t> points_;
  bool valid_ = false;
};

class Clustering {
public:
  Clustering(ClusterRegionsProblem &problem, Simd simd)
      : problem_(problem), simd_(simd), window_(problem.bandwidth_deg),
        min_support_(static_cast<double>(problem.min_support)) {}

  /// Clusters a region; its index counts from 0. Returns its lines, none if a point is not finite.
  Lines run(std::span<const int32_t> members) const {
    const int64_t dimensions = problem_.points.dimensions;
    PointSet points(dimensions);
    if (!points.add(problem_.points, 0, members, 1, simd_))
      return Lines(dimensions);
    const Modes found = points.count() > kSearched
                            ? search(points)
                            : find_modes(points, none(), none(),
                                         {window_, min_support_, true, kExactly}, simd_, serial);
    Modes modes = found.chosen(kept_modes(found, window_, min_support_, simd_));
    for (int64_t i = 0; i < modes.count(); ++i)
      make_canonical(modes.lines.row(i), dimensions);
    if (modes.count() == 0)
      modes.lines = Lines(dimensions, 1);
    std::vector<int32_t> index(members.size());
    std::vector<float> score(members.size());
    climb(points).assign(modes.lines, index.data(), score.data());
    for (size_t i = 0; i < members.size(); ++i) {
      problem_.index[members[i]] = index[i];
      problem_.score[members[i]] = score[i];
    }
    return std::move(modes.lines);
  }

private:
  /// The modes of a large region.
  Modes search(const PointSet &points) const {
    const Search rough{window_, kPromising * min_support_, false, kRoughly};
    const PointSet few = sample(points, kSearched);
    const Modes promising = find_modes(few, none(), none(), rough, simd_, serial);
    std::vector<int32_t> chosen = range(promising.count());
    std::erase_if(chosen, [&](int32_t i) { return promising.support[i] < rough.min_support; });
    Lines seeds = promising.chosen(chosen).lines;
    return points.count() > kClimbed ? climbed(sample(points, kClimbed), std::move(seeds))
                                     : climbed(points, std::move(seeds));
  }

  Modes climbed(const PointSet &points, Lines seeds) const {
    Modes found(points.dimensions());
    found.lines = climb_to_modes(climb(points), std::move(seeds), none(), window_, kAtRest);
    found.support = climb(points).support(found.lines);
    return found;
  }

  /// At most `count` points at equal distances, that stand for all.
  PointSet sample(const PointSet &points, int64_t count) const {
    const std::vector<int32_t> chosen = evenly_spaced(range(points.count()), count);
    return points.some(chosen,
                       static_cast<float>(points.count()) / static_cast<float>(chosen.size()));
  }
  Climb climb(const PointSet &points) const { return {points, window_.cosine, simd_, serial}; }
  Lines none() const { return Lines(problem_.points.dimensions); }

  ClusterRegionsProblem &problem_;
  Simd simd_;
  Window window_;
  double min_support_;
};

} // namespace

Status cluster_regions_cpu(ClusterRegionsProblem &problem, Simd simd,
                           const ParallelFor &parallel_for) {
  const Members members(problem);
  if (!members.valid())
    return Status::bad_regions;
  const Clustering clustering(problem, simd);
  const int64_t regions = members.count();
  std::vector<Lines> lines(regions, Lines(problem.points.dimensions));
  // The largest first, each by the next thread that is free.
  std::vector<int32_t> by_size = range(regions);
  std::ranges::stable_sort(
      by_size, [&](int32_t a, int32_t b) { return members.of(a).size() > members.of(b).size(); });
  std::atomic<int64_t> next = 0;
  parallel_for(regions, 1, [&](int64_t, int64_t) {
    for (int64_t i; (i = next++) < regions;)
      lines[by_size[i]] = clustering.run(members.of(by_size[i]));
  });
  std::vector<int32_t> first_mode; // of each region
  int64_t modes = 0;
  for (const Lines &own : lines) {
    if (own.count() == 0)
      return Status::non_finite_points;
    first_mode.push_back(static_cast<int32_t>(modes));
    modes += own.count();
    problem.modes.insert(problem.modes.end(), own.values.begin(), own.values.end());
  }
  parallel_for(problem.points.pixels, 1 << 15, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      const int32_t region = problem.regions[p];
      problem.index[p] = region < 0 ? -1 : problem.index[p] + first_mode[region];
      problem.score[p] = region < 0 ? 0 : problem.score[p];
    }
  });
  return Status::ok;
}

} // namespace bottomup
