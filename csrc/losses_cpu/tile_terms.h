// The terms of one tile of pixels and their derivatives with respect to its cosines.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "common/feature_tile.h"
#include "common/vector.h"
#include "contracts/losses.h"
#include "losses_cpu/segment_space.h"

namespace bottomup {

/// The last rows of an image: of each, the line every pixel belongs to (-1 none), its cosines with
/// all lines and its coordinates in the segment space, (count, width) with a margin on both sides.
struct Ring {
  Ring(int64_t rows, int64_t lines, int64_t segments, int64_t width)
      : rows(rows), stride(2 * kMargin + ceil_div(width, kTile) * kTile), lines(lines),
        height(lines + segments), values(rows * height * stride), positions(rows * stride, -1) {}

  float *cosines(int64_t y) { return values.data() + y % rows * height * stride + kMargin; }
  float *segments(int64_t y) { return cosines(y) + lines * stride; }
  int32_t *position(int64_t y) { return positions.data() + y % rows * stride + kMargin; }

  static constexpr int64_t kMargin = 16;
  int64_t rows, stride, lines, height;
  std::vector<float> values;
  std::vector<int32_t> positions;
};

/// What the pixels of an image count in each term.
struct TermWeights {
  TermWeights(const LossesProblem &problem, const ImageLines &image);

  // Of a pixel in its image's term, by position + 1 of its line; zero for ignored pixels.
  std::vector<float> attraction_of, repulsion_of;
  double norm = 0, mse = 0, pairs[kScales] = {};
  // The gradient's factors: the terms' weights over the size of the batch.
  float attraction_gradient, repulsion_gradient, mse_gradient, pair_gradient, norm_gradient;
};

/// The same of the pixels of one tile.
struct TileWeights {
  BOTTOMUP_ALWAYS_INLINE TileWeights(const TermWeights &weights, const int32_t *position) {
    for (int64_t p = 0; p < kTile; ++p) {
      const int32_t own = position[p] + 1;
      attract[p] = weights.attraction_of[own];
      repel[p] = weights.repulsion_of[own];
      valid[p] = own > 0 ? 1.0f : 0.0f;
    }
  }

  float attract[kTile], repel[kTile], valid[kTile];
};

/// Attraction and repulsion (eq. 5 and 6): adds the tile's terms to `sums` and sets the derivatives
/// with respect to the cosines.
BOTTOMUP_ALWAYS_INLINE void compare_with_lines(const TermWeights &weights, const TileWeights &tile,
                                               const int32_t *position, const float *cosines,
                                               int64_t stride, int64_t lines, Row *gradients,
                                               double *sums) {
  float own[kTile] = {}, others[kTile] = {}, pull[kTile], push[kTile];
  for (int64_t p = 0; p < kTile; ++p) {
    pull[p] = -weights.attraction_gradient * tile.attract[p];
    push[p] = weights.repulsion_gradient * tile.repel[p];
  }
  for (int32_t j = 0; j < lines; ++j)
    for (int64_t p = 0; p < kTile; ++p) {
      const float cosine = cosines[j * stride + p], size = std::abs(cosine);
      const bool mine = position[p] == j;
      own[p] += mine ? size : 0.0f;
      others[p] += mine ? 0.0f : size;
      const float slope = mine ? pull[p] : push[p];
      gradients[j].pixel[p] = cosine > 0 ? slope : cosine < 0 ? -slope : 0.0f;
    }
  double attracted = 0, repelled = 0;
  for (int64_t p = 0; p < kTile; ++p) {
    attracted += tile.attract[p] * (1 - own[p]);
    repelled += tile.repel[p] * others[p];
  }
  sums[attraction] += attracted;
  sums[repulsion] += repelled;
}

/// The residual R of entity i (eq. 8) of a vector of pixels; ignored ones are weighted away.
template <int lanes>
BOTTOMUP_ALWAYS_INLINE Vector<lanes> residual(const float *segments, const int32_t *position,
                                              int32_t i) {
  const Vector<lanes> one = Vector<lanes>{} + 1.0f;
  return magnitude<lanes>(load<lanes>(segments)) -
         (load<lanes>(position) == i ? one : Vector<lanes>{});
}

/// Neighbours of a tile's pixels on one scale in one direction, and their weights.
struct Neighbours {
  const float *segments; // of the first entity
  const int32_t *position;
  bool counted; // each pair is a term once, and has two derivatives
  float weight[kTile];
};

/// All neighbours of the row's tile that starts at `first`; returns how many directions.
BOTTOMUP_ALWAYS_INLINE int find_neighbours(const TermWeights &weights, Ring &ring, int64_t y,
                                           int64_t height, int64_t first, Neighbours *result) {
  int count = 0;
  const int32_t *position = ring.position(y) + first;
  const auto add = [&](int scale, int64_t row, int64_t offset, bool counted) {
    if (row < 0 || row >= height)
      return;
    Neighbours &next = result[count++];
    next.segments = ring.segments(row) + first + offset;
    next.position = ring.position(row) + first + offset;
    next.counted = counted;
    const float weight = static_cast<float>(weights.pairs[scale]);
    const int64_t mask = (int64_t{1} << scale) - 1; // a tile begins on every scale's grid
    for (int64_t p = 0; p < kTile; ++p)
      next.weight[p] = (p & mask) == 0 && position[p] >= 0 && next.position[p] >= 0 ? weight : 0.0f;
  };
  for (int scale = 0; scale < kScales; ++scale) {
    const int64_t step = int64_t{1} << scale;
    if (y % step != 0)
      break;
    add(scale, y, -step, false);
    add(scale, y, step, true);
    add(scale, y - step, 0, false);
    add(scale, y + step, 0, true);
  }
  return count;
}

/// Segment-space MSE and gradient (eq. 8): adds the tile's terms to `sums` and sets the derivatives
/// with respect to the segment-space coordinates.
template <int lanes>
BOTTOMUP_ALWAYS_INLINE void
compare_in_segment_space(const TermWeights &weights, const TileWeights &tile, Ring &ring, int64_t y,
                         int64_t height, int64_t first, Row *gradients, double *sums) {
  Neighbours neighbours[4 * kScales];
  const int count = find_neighbours(weights, ring, y, height, first, neighbours);
  const int32_t *position = ring.position(y) + first;
  const float *segments = ring.segments(y) + first;
  const int32_t entities = static_cast<int32_t>(ring.height - ring.lines);
  Vector<lanes> squares = {}, changes = {};
  for (int32_t i = 0; i < entities; ++i)
    for (int64_t p = 0; p < kTile; p += lanes) {
      const int64_t offset = i * ring.stride + p;
      const Vector<lanes> own = residual<lanes>(segments + offset, position + p, i);
      Vector<lanes> slope = {};
      for (int n = 0; n < count; ++n) {
        const Neighbours &next = neighbours[n];
        const Vector<lanes> weight = load<lanes>(next.weight + p);
        const Vector<lanes> change =
            own - residual<lanes>(next.segments + offset, next.position + p, i);
        slope += with_sign<lanes>(change, weight);
        if (next.counted)
          changes += weight * magnitude<lanes>(change);
      }
      const Vector<lanes> value = load<lanes>(tile.valid + p) * own;
      squares += value * value;
      const Vector<lanes> slopes = weights.mse_gradient * value + weights.pair_gradient * slope;
      store<lanes>(gradients[i].pixel + p,
                   with_sign<lanes>(load<lanes>(segments + offset), slopes));
    }
  sums[segment_mse] += weights.mse * total<lanes>(squares);
  sums[segment_gradient] += total<lanes>(changes);
}

} // namespace bottomup
