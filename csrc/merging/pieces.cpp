#include "merging/pieces.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "bottomup/merging.h"

namespace bottomup {
namespace {

constexpr double kTight = 0.75; // of the bandwidth: the window that stability compares with

/// |cos| between the modes of two segments; background is the last resort.
Similarity line_similarity(const LabelMap &labels, const Grid<int32_t> &index, const float *modes,
                           int64_t num_modes, int64_t dimensions) {
  std::vector<int32_t> mode_of(std::ranges::max(labels.values) + 1);
  for (int64_t pixel = 0; pixel < labels.size(); ++pixel)
    mode_of[labels.values[pixel]] = index.values[pixel];
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
  LabelMap labels = index;
  for (int32_t &label : labels.values)
    ++label;
  // Either way no label exceeds the number of pixels, of which there may be fewer than modes.
  labels = split ? split_components(labels) : relabel_by_appearance(labels);
  if (min_area <= 1)
    return labels;
  return relabel_by_appearance(
      fold_specks(labels, min_area, line_similarity(labels, index, modes, num_modes, dimensions)));
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
