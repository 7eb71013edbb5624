#include "bottomup/clustering.h"

#include <algorithm>
#include <numeric>
#include <string>

#include "contracts/assign.h"
#include "contracts/cluster.h"
#include "contracts/cluster_regions.h"
#include "contracts/mean_shift.h"
#include "runtime/threads.h"

namespace bottomup {
namespace {

void check(bool condition, const std::string &message) {
  if (!condition)
    throw Error(message);
}

void check(Status status) { check(status == Status::ok, message(status)); }

void check_window(double bandwidth_deg, int64_t min_support) {
  check(bandwidth_deg > 0 && bandwidth_deg <= 45,
        "bandwidth_deg must be in (0, 45], got " + std::to_string(bandwidth_deg));
  check(min_support >= 1, "min_support must be at least 1, got " + std::to_string(min_support));
}

FeatureMaps maps_of(const FeatureView &view) {
  check(view.dimensions >= 1, "features must have at least one dimension");
  check(view.height >= 0 && view.width >= 0, "features must not have a negative size");
  check(view.data || view.pixels() == 0, "features: no data");
  return {1, view.dimensions,     view.pixels(),    view.data, DataType::float32,
          0, view.channel_stride, view.pixel_stride};
}

FeatureMaps points_of(const float *points, int64_t count, int64_t dimensions) {
  return maps_of(FeatureView::interleaved(points, 1, count, dimensions));
}

} // namespace

Clusters cluster(const FeatureView &features, const bool *mask, const ClusterOptions &options) {
  check_window(options.bandwidth_deg, options.min_support);
  check(options.rounds >= 1, "rounds must be at least 1");
  check(options.max_modes >= 1, "max_modes must be at least 1");
  Clusters found;
  found.labels = LabelMap(features.height, features.width);
  found.score = Grid<float>(features.height, features.width);
  int32_t num_modes = 0;

  ClusterProblem problem{};
  problem.features = maps_of(features);
  found.modes.resize(options.max_modes * features.dimensions);
  found.support.resize(options.max_modes);
  problem.mask = mask;
  problem.width = features.width;
  problem.settings = {options.bandwidth_deg, options.min_support, options.rounds, options.fast};
  problem.max_modes = options.max_modes;
  problem.labels = found.labels.values.data();
  problem.num_segments = &found.num_segments;
  problem.score = found.score.values.data();
  problem.modes = found.modes.data();
  problem.support = found.support.data();
  problem.num_modes = &num_modes;
  check(cluster_cpu(problem, selected_simd(), library_parallel_for));
  found.modes.resize(num_modes * features.dimensions);
  found.support.resize(num_modes);
  return found;
}

ShiftedSeeds mean_shift(const float *points, int64_t num_points, const float *seeds,
                        int64_t num_seeds, int64_t dimensions, double bandwidth_deg,
                        double tolerance, int64_t max_steps) {
  check_window(bandwidth_deg, 1);
  check(max_steps >= 0, "max_steps must not be negative");
  MeanShiftProblem problem{};
  problem.points = points_of(points, num_points, dimensions);
  problem.seeds = points_of(seeds, num_seeds, dimensions);
  ShiftedSeeds result{std::vector<float>(num_seeds * dimensions), std::vector<int32_t>(num_seeds)};
  problem.bandwidth_deg = bandwidth_deg;
  problem.tolerance = tolerance;
  problem.max_steps = max_steps;
  problem.modes = result.modes.data();
  problem.support = result.support.data();
  check(mean_shift_cpu(problem, selected_simd(), library_parallel_for));
  return result;
}

Assignment assign(const FeatureView &features, const float *modes, int64_t num_modes, bool fast) {
  const auto count = static_cast<int32_t>(num_modes);
  check(num_modes >= 0 && count == num_modes, "num_modes is outside the range of int32");
  AssignProblem problem{};
  problem.features = maps_of(features);
  Assignment result{std::vector<int32_t>(features.pixels()), std::vector<float>(features.pixels())};
  problem.max_modes = num_modes;
  problem.modes = modes;
  problem.num_modes = &count;
  problem.fast = fast;
  problem.index = result.index.data();
  problem.score = result.score.data();
  check(assign_cpu(problem, selected_simd(), library_parallel_for));
  return result;
}

RegionClusters cluster_regions(const FeatureView &points, const int32_t *regions,
                               double bandwidth_deg, int64_t min_support) {
  check_window(bandwidth_deg, min_support);
  ClusterRegionsProblem problem{};
  problem.points = maps_of(points);
  problem.regions = regions;
  problem.bandwidth_deg = bandwidth_deg;
  problem.min_support = min_support;
  RegionClusters result{
      std::vector<int32_t>(points.pixels()), std::vector<float>(points.pixels()), {}};
  problem.index = result.index.data();
  problem.score = result.score.data();
  check(cluster_regions_cpu(problem, selected_simd(), library_parallel_for));
  result.modes = std::move(problem.modes);
  return result;
}

} // namespace bottomup
