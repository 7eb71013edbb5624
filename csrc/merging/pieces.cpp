#include "merging/pieces.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "merging/label_runs.h"

namespace bottomup {
namespace {

constexpr double kTight = 0.75; // of the bandwidth: the window that stability compares with

/// |cos| between the modes of two segments; background is the last resort. `index` has the mode of
/// each run.
Similarity line_similarity(const LabelRuns &labels, const std::vector<Run> &index,
                           const float *modes, int64_t num_modes, int64_t dimensions) {
  std::vector<int32_t> mode_of(labels.largest_label() + 1);
  for (size_t i = 0; i < index.size(); ++i)
    mode_of[labels.runs[i].label] = index[i].label;
  return [=, mode_of = std::move(mode_of)](int32_t one, int32_t other) {
    if (other == 0 || num_modes == 0)
      return -1.0;
    const float *a = modes + mode_of[one] * dimensions, *b = modes + mode_of[other] * dimensions;
    float product = 0;
    for (int64_t d = 0; d < dimensions; ++d)
      product += a[d] * b[d];
    return static_cast<double>(std::abs(product));
  };
}

/// Sums over the pixels of each segment.
struct SegmentSums {
  int64_t area = 0, inside = 0, well_inside = 0; // of the window, of a tighter one
  double likeness = 0, cosine = 0;
};

} // namespace

LabelMap pieces(const Grid<int32_t> &index, const float *modes, int64_t num_modes,
                int64_t dimensions, bool split, int64_t min_area) {
  LabelRuns labels(index);
  const std::vector<Run> modes_of_runs = labels.runs;
  for (Run &run : labels.runs)
    ++run.label;
  // Either way no label exceeds the number of pixels, of which there may be fewer than modes.
  if (split)
    split_pieces(labels, 1);
  else
    number_by_appearance(labels);
  if (min_area > 1) {
    fold_small(labels, min_area,
               line_similarity(labels, modes_of_runs, modes, num_modes, dimensions));
    number_by_appearance(labels);
  }
  return labels.map();
}

SegmentScores segment_scores(const LabelMap &labels, const float *likeness, const float *cosine,
                             double bandwidth_deg) {
  const double edge = cosine_of(bandwidth_deg), tight = cosine_of(kTight * bandwidth_deg);
  std::vector<SegmentSums> sums(std::ranges::max(labels.values) + 1);
  for (int64_t pixel = 0; pixel < labels.size(); ++pixel) {
    SegmentSums &segment = sums[labels.values[pixel]];
    ++segment.area;
    segment.inside += cosine[pixel] >= edge;
    segment.well_inside += cosine[pixel] >= tight;
    segment.likeness += likeness[pixel];
    segment.cosine += cosine[pixel];
  }
  SegmentScores scores;
  for (size_t label = 1; label < sums.size(); ++label) {
    const SegmentSums &segment = sums[label];
    const auto area = static_cast<double>(std::max<int64_t>(segment.area, 1));
    scores.likeness.push_back(segment.likeness / area);
    scores.cosine.push_back(segment.cosine / area);
    scores.stability.push_back(static_cast<double>(segment.well_inside) /
                               static_cast<double>(std::max<int64_t>(segment.inside, 1)));
  }
  return scores;
}

} // namespace bottomup
