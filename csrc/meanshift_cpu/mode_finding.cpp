#include "meanshift_cpu/mode_finding.h"

#include <algorithm>
#include <span>

#include "meanshift_cpu/climbing.h"
#include "meanshift_cpu/neighbourhoods.h"
#include "meanshift_cpu/seeds.h"

namespace bottomup {
namespace {

constexpr int64_t kSeeds = 64;                            // of a round, outside all windows
constexpr int64_t kComparedFirst = 512, kCompared = 8192; // points, to find dense ones
constexpr int64_t kBetween = 128;                         // of a round, inside windows
constexpr int64_t kFewest = 8;                            // of those, and
constexpr int64_t kPerBetween = 16;                       // points for each of them in between
constexpr int kBetweenRounds = 2;                         // of a search, and
constexpr int kThoroughRounds = 4;    // of a thorough one; likewise of seeds that are not dense
constexpr int kBarrenRounds = 2;      // after which denser seeds are given up
constexpr double kMiddle = 1.0 / 3;   // part of the bandwidth in which a point climbs to its mode
constexpr double kNearly = 1.0 / 2;   // within which they are where steps are long, and
constexpr double kLongStep = 1.0 / 8; // that of modes which rest there
constexpr int kSteps = 200;           // at most
constexpr int32_t kLeastDensity = 3;  // of a seed that promises ten points and more

bool near_any(const float *line, const Lines &lines, float cosine) {
  for (int64_t i = 0; i < lines.count(); ++i)
    if (std::abs(dot(line, lines.row(i), lines.dimensions)) >= cosine)
      return true;
  return false;
}

/// Positions of the lines that are not near one of `old`, or near a distinct one before them.
std::vector<int32_t> distinct_lines(const Lines &lines, const Lines &old, float cosine, Simd simd) {
  const std::vector<float> to_old = similarities(lines, old, simd);
  const std::vector<float> table = similarities(lines, lines, simd);
  std::vector<int32_t> distinct;
  for (int64_t i = 0; i < lines.count(); ++i) {
    const auto near_old = std::span(to_old).subspan(i * old.count(), old.count());
    if (std::ranges::none_of(near_old, [&](float value) { return value >= cosine; }) &&
        std::ranges::none_of(distinct,
                             [&](int32_t j) { return table[i * lines.count() + j] >= cosine; }))
      distinct.push_back(static_cast<int32_t>(i));
  }
  return distinct;
}

int32_t least_density(double min_support) {
  return static_cast<int32_t>(std::clamp(std::ceil(min_support / 3), 1.0, double{kLeastDensity}));
}

/// Which points to start from next; none if there is nothing left to find.
class SeedSchedule {
public:
  SeedSchedule(const PointSet &points, const Search &search, Simd simd)
      : points_(points), search_(search), simd_(simd), unused_(points.count()) {
    for (int64_t i = 0; i < points.count(); ++i)
      unused_[i] = points.has_line(i);
  }

  std::vector<int32_t> next(const std::vector<float> &nearest) {
    std::vector<int32_t> seeds = choose(nearest);
    std::ranges::sort(seeds);
    for (const int32_t seed : seeds)
      unused_[seed] = false;
    ++turn_;
    return seeds;
  }

  void nothing_new() { ++barren_rounds_; }
  void something_new() { barren_rounds_ = 0; }

private:
  std::vector<int32_t> choose(const std::vector<float> &nearest) {
    const float window = search_.window.cosine, middle = search_.window.part(kMiddle);
    std::vector<int32_t> outside, between;
    for (int32_t i = 0; i < points_.count(); ++i)
      if (unused_[i]) {
        if (nearest[i] < window)
          outside.push_back(i);
        else if (nearest[i] < middle)
          between.push_back(i);
      }
    if (barren_rounds_ < kBarrenRounds) {
      // Large clusters show among few points already.
      std::vector<int32_t> seeds;
      if (turn_ == 0)
        seeds = dense(evenly_spaced(outside, kComparedFirst));
      if (seeds.empty())
        seeds = dense(evenly_spaced(outside, kCompared));
      if (!seeds.empty())
        return seeds;
    }
    if (search_.thorough && !outside.empty() && stray_rounds_++ < kThoroughRounds)
      return evenly_spaced(outside, kSeeds);
    if (search_.effort.between &&
        between_rounds_++ < (search_.thorough ? kThoroughRounds : kBetweenRounds))
      return evenly_spaced(between, std::clamp(points_.count() / kPerBetween, kFewest, kBetween));
    return {};
  }

  std::vector<int32_t> dense(const std::vector<int32_t> &candidates) const {
    std::vector<int32_t> seeds =
        dense_seeds(points_.lines(candidates), search_.window.cosine,
                    least_density(search_.min_support), kSeeds, turn_, simd_);
    for (int32_t &seed : seeds)
      seed = candidates[seed];
    return seeds;
  }

  const PointSet &points_;
  const Search &search_;
  Simd simd_;
  std::vector<bool> unused_;
  uint32_t turn_ = 0;
  int barren_rounds_ = 0, stray_rounds_ = 0, between_rounds_ = 0;
};

} // namespace

void Modes::append(const Modes &other) {
  lines.append(other.lines);
  support.insert(support.end(), other.support.begin(), other.support.end());
}

Modes Modes::chosen(const std::vector<int32_t> &order) const {
  Modes result(lines.dimensions);
  for (const int32_t i : order) {
    result.lines.append(lines.row(i));
    result.support.push_back(support[i]);
  }
  return result;
}

std::vector<int32_t> kept_modes(const Modes &modes, const Window &window, double min_support,
                                Simd simd) {
  std::vector<int32_t> order = range(modes.count());
  std::erase_if(order, [&](int32_t i) { return modes.support[i] < min_support; });
  std::ranges::stable_sort(
      order, [&](int32_t a, int32_t b) { return modes.support[a] > modes.support[b]; });
  const std::vector<float> table = similarities(modes.lines, modes.lines, simd);
  std::vector<int32_t> kept;
  for (const int32_t i : order)
    if (std::ranges::none_of(
            kept, [&](int32_t j) { return table[i * modes.count() + j] >= window.cosine; }))
      kept.push_back(i);
  return kept;
}

Lines climb_to_modes(const Climb &points, Lines lines, const Lines &old, const Window &window,
                     double tolerance, double same) {
  const float near = window.part(same);
  std::vector<bool> rests(lines.count());
  for (int step = 0; step < kSteps; ++step) {
    std::vector<int32_t> moving;
    for (int32_t i = 0; i < lines.count(); ++i)
      if (!rests[i])
        moving.push_back(i);
    if (moving.empty())
      break;
    const std::vector<double> moved = points.step(lines, moving);
    for (size_t i = 0; i < moving.size(); ++i)
      rests[moving[i]] = moved[i] <= tolerance;
    const std::vector<int32_t> distinct = distinct_lines(lines, old, near, points.simd());
    for (size_t i = 0; i < distinct.size(); ++i) {
      std::copy_n(lines.row(distinct[i]), lines.dimensions, lines.row(static_cast<int64_t>(i)));
      rests[i] = rests[distinct[i]];
    }
    lines.values.resize(distinct.size() * lines.dimensions);
    rests.resize(distinct.size());
  }
  return lines;
}

Modes densest_modes(const PointSet &points, const Window &window, double min_support, Simd simd,
                    const ParallelFor &parallel_for) {
  const Neighbourhoods neighbourhoods(points, window.cosine, simd, parallel_for);
  const Climb climbing(points, window.cosine, simd, parallel_for);
  Modes found(points.dimensions());
  found.lines =
      climb_to_modes(climbing, points.lines(neighbourhoods.peaks(least_density(min_support))),
                     Lines(points.dimensions()), window, kLongStep * window.bandwidth, kNearly);
  found.support = climbing.support(found.lines);
  return found;
}

bool has_dense_lines(const Lines &lines, const Search &search, Simd simd) {
  return !dense_seeds(lines, search.window.cosine, least_density(search.min_support), 1, 0, simd)
              .empty();
}

Modes find_modes(const PointSet &points, const Lines &known, const Lines &rejected,
                 const Search &search, Simd simd, const ParallelFor &parallel_for) {
  const Climb climbing(points, search.window.cosine, simd, parallel_for);
  SeedSchedule schedule(points, search, simd);
  Lines old = known; // and rejected, and found
  old.append(rejected);
  Modes found(points.dimensions());
  std::vector<float> nearest = climbing.nearest(known);
  for (uint32_t round = 0; round < search.effort.rounds; ++round) {
    const std::vector<int32_t> starts = schedule.next(nearest);
    if (starts.empty())
      break;
    Modes fresh(points.dimensions());
    fresh.lines =
        climb_to_modes(climbing, points.lines(starts), old, search.window, search.effort.tolerance);
    if (fresh.count() == 0) {
      schedule.nothing_new();
      continue;
    }
    schedule.something_new();
    fresh.support = climbing.support(fresh.lines);
    for (int64_t i = 0; i < fresh.count(); ++i) {
      old.append(fresh.lines.row(i));
      if (!near_any(fresh.lines.row(i), known, search.window.cosine)) {
        found.lines.append(fresh.lines.row(i));
        found.support.push_back(fresh.support[i]);
      }
    }
    Lines covering = known;
    for (const int32_t i : kept_modes(found, search.window, search.min_support, simd))
      covering.append(found.lines.row(i));
    nearest = climbing.nearest(covering);
  }
  return found;
}

} // namespace bottomup
