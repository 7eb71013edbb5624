// The terms of a tile, and their derivatives by the numbers of its pixels.
#pragma once

#include <cstdint>

#include "common/status.h"
#include "losses_cuda/tile_products.cuh"

namespace bottomup {

inline constexpr float kEasy = 0.97f;

/// Which line each pixel of this thread belongs to, -1 for none.
struct Positions {
  int32_t of[4];
};

template <typename Block>
__device__ __forceinline__ Positions positions_of(const Block &block, const OwnPixels &own) {
  Positions result;
#pragma unroll
  for (int p = 0; p < 4; ++p)
    result.of[p] = block.position[own.first + p];
  return result;
}

/// `slope` where `value` is positive, `-slope` where it is negative, 0 where it is zero.
__device__ __forceinline__ float with_sign(float value, float slope) {
  return value > 0 ? slope : value < 0 ? -slope : 0.0f;
}

/// The products of a thread's pixels with one line become cosines: adds up their sizes, keeps them
/// and their signs.
template <typename Block>
__device__ __forceinline__ void compare_with_line(const Block &block, int station,
                                                  const Positions &position, int line,
                                                  const float (&inverse)[4], float (&products)[4],
                                                  float (&own)[4], float (&others)[4]) {
  unsigned signs = 0;
#pragma unroll
  for (int p = 0; p < 4; ++p) {
    products[p] *= inverse[p];
    const float size = fabsf(products[p]);
    const bool mine = position.of[p] == line;
    own[p] += mine ? size : 0.0f;
    others[p] += mine ? 0.0f : size;
    signs |= (products[p] > 0 ? 1u : 0u) << p | (products[p] < 0 ? 1u : 0u) << (4 + p);
  }
  block.signs[line * (block.tile.pixels() / 4) + station / 4] = static_cast<uint8_t>(signs);
  store_four(block.cosines + static_cast<int64_t>(line) * block.stride + station, products);
}

/// Cosines of the tile's pixels, attraction and repulsion (eq. 5 and 6) and the norm term (eq. 3).
template <typename Block> __device__ __forceinline__ void compare_with_lines(const Block &block) {
  using Shape = typename Block::Shape;
  const FusedPass &pass = block.pass;
  const OwnPixels own = block.own_pixels();
  const PixelQuad quad = block.quad_of(own);
  const Positions position = positions_of(block, own);
  const int entities = block.summary.entities;
  float mine[4] = {}, others[4] = {}, length[4];
  for (int first = 0; first == 0 || first < entities; first += Shape::entities) {
    Rows<Shape> sums = {};
    float background[4] = {}, squares[4] = {}, inverse[4];
    multiply_features(block, quad, first, sums, background, squares);
#pragma unroll
    for (int p = 0; p < 4; ++p) {
      length[p] = sqrtf(squares[p]);
      inverse[p] = 1 / fmaxf(length[p], kMinNorm);
      if (!(squares[p] <= kLargest))
        atomicMax(pass.input_status, static_cast<int32_t>(Status::non_finite_features));
    }
#pragma unroll
    for (int m = 0; m < Shape::rows; ++m)
      if (first + Shape::row(m) < entities)
        compare_with_line(block, own.first, position, first + Shape::row(m), inverse, sums[m], mine,
                          others);
    if (first == 0 && block.has_background() && Shape::group() == 0)
      compare_with_line(block, own.first, position, entities, inverse, background, mine, others);
  }

  float attracted = 0, repelled = 0, deviated = 0;
#pragma unroll
  for (int p = 0; p < 4; ++p) {
    mine[p] = Shape::sum_of_groups(mine[p]);
    others[p] = Shape::sum_of_groups(others[p]);
    if (Shape::group() != 0)
      continue;
    const int line = position.of[p];
    const float deviation = line >= 0 ? length[p] - 1 : 0.0f;
    attracted += line >= 0 ? block.attraction_of[line] * (1 - mine[p]) : 0.0f;
    repelled += line >= 0 ? block.repulsion_of[line] * others[p] : 0.0f;
    deviated += deviation * deviation;
    block.length[own.first + p] = length[p];
    block.along[own.first + p] = block.pull_of(line) * mine[p] + block.push_of(line) * others[p];
    if (pass.easy && quad.exists[p])
      pass.easy[block.image() * pass.height * pass.width + quad.pixel[p]] =
          line >= 0 && mine[p] >= kEasy;
  }
  block.add_term(tile_attraction, attracted);
  block.add_term(tile_repulsion, repelled);
  block.add_term(tile_deviation, deviated);
}

/// The residuals (eq. 8) of a thread's pixels for four entities, and the weighted signs of their
/// differences from neighbours.
struct Residuals {
  int32_t entity; // the first of them
  float value[4][4], slope[4][4];
  float change = 0; // the sum of weighted differences, each pair once
};

__device__ __forceinline__ float residual(float coordinate, int32_t line, int32_t entity) {
  return fabsf(coordinate) - (line == entity ? 1.0f : 0.0f);
}

__device__ __forceinline__ void add_difference(Residuals &residuals, int i, int p, float other,
                                               float weight, float counted) {
  const float difference = residuals.value[i][p] - other;
  residuals.slope[i][p] += with_sign(difference, weight);
  residuals.change += counted * fabsf(difference);
}

/// Differences on the finest scale, where all four pixels have neighbours: above and below, by wide
/// reads.
template <typename Block>
__device__ __forceinline__ void compare_with_rows(const Block &block, const OwnPixels &own,
                                                  const Positions &position, Residuals &residuals) {
#pragma unroll 1
  for (int direction = 1; direction < 4; direction += 2) {
    const int station = block.tile.beside(own.place, 0, direction);
    float weights[4];
    int32_t lines[4];
#pragma unroll
    for (int p = 0; p < 4; ++p) {
      lines[p] = block.position[station + p];
      weights[p] = position.of[p] >= 0 && lines[p] >= 0 ? block.summary.pairs[0] : 0.0f;
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int entity = residuals.entity + i;
      const bool counted = direction == 3 && entity < block.summary.entities;
      float other[4];
      load_four(block.segments_of(entity) + station, other);
#pragma unroll
      for (int p = 0; p < 4; ++p)
        add_difference(residuals, i, p, residual(other[p], lines[p], entity), weights[p],
                       counted ? weights[p] : 0.0f);
    }
  }
}

/// And to the left and right, where three of the five pairs are among the four pixels.
template <typename Block>
__device__ __forceinline__ void compare_in_row(const Block &block, const OwnPixels &own,
                                               const Positions &position, Residuals &residuals) {
  const float weight = block.summary.pairs[0];
  const int left = block.tile.beside(own.place, 0, 0);
  const int right = block.tile.beside({own.place.y, own.place.x + 3}, 0, 2);
  const int32_t before = block.position[left], after = block.position[right];
  const float left_weight = position.of[0] >= 0 && before >= 0 ? weight : 0.0f;
  const float right_weight = position.of[3] >= 0 && after >= 0 ? weight : 0.0f;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int entity = residuals.entity + i;
    const bool used = entity < block.summary.entities;
    const float *row = block.segments_of(entity);
    add_difference(residuals, i, 0, residual(row[left], before, entity), left_weight, 0);
    add_difference(residuals, i, 3, residual(row[right], after, entity), right_weight,
                   used ? right_weight : 0.0f);
#pragma unroll
    for (int p = 0; p < 3; ++p) {
      const bool both = position.of[p] >= 0 && position.of[p + 1] >= 0;
      const float between = both ? weight : 0.0f;
      add_difference(residuals, i, p, residuals.value[i][p + 1], between, used ? between : 0.0f);
      add_difference(residuals, i, p + 1, residuals.value[i][p], between, 0);
    }
  }
}

/// Differences on the scales where at most every second pixel is left.
template <typename Block>
__device__ __forceinline__ void compare_on_grids(const Block &block, const OwnPixels &own,
                                                 const Positions &position, Residuals &residuals) {
#pragma unroll 1
  for (int scale = 1; scale < kScales && own.place.y % (1 << scale) == 0; ++scale)
#pragma unroll
    for (int p = 0; p < 4; p += 2) {
      if ((own.place.x + p) % (1 << scale) != 0 || position.of[p] < 0)
        continue;
#pragma unroll 1
      for (int direction = 0; direction < 4; ++direction) {
        const int station = block.tile.beside({own.place.y, own.place.x + p}, scale, direction);
        const int32_t line = block.position[station];
        if (line < 0)
          continue;
        const float weight = block.summary.pairs[scale];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int entity = residuals.entity + i;
          const bool counted = direction >= 2 && entity < block.summary.entities;
          add_difference(residuals, i, p,
                         residual(block.segments_of(entity)[station], line, entity), weight,
                         counted ? weight : 0.0f);
        }
      }
    }
}

/// Segment-space MSE and gradient (eq. 8). Derivatives by the coordinates take their place.
template <typename Block>
__device__ __forceinline__ void compare_in_segment_space(const Block &block) {
  using Shape = typename Block::Shape;
  const ImageSummary &summary = block.summary;
  const OwnPixels own = block.own_pixels();
  const Positions position = positions_of(block, own);
  float along[4] = {}, squares = 0, changes = 0;
  __syncthreads();
  for (int first = 0; first < summary.entities; first += Shape::entities) {
    Rows<Shape> slopes;
#pragma unroll
    for (int m = 0; m < Shape::rows; m += 4) {
      Residuals residuals{first + Shape::row(m), {}, {}};
      float coordinates[4][4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int entity = residuals.entity + i;
        load_four(block.segments_of(entity) + own.first, coordinates[i]);
#pragma unroll
        for (int p = 0; p < 4; ++p)
          residuals.value[i][p] = residual(coordinates[i][p], position.of[p], entity);
      }
      compare_with_rows(block, own, position, residuals);
      compare_in_row(block, own, position, residuals);
      compare_on_grids(block, own, position, residuals);
      changes += residuals.change;
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int p = 0; p < 4; ++p) {
          const bool used = residuals.entity + i < summary.entities && position.of[p] >= 0;
          const float value = used ? residuals.value[i][p] : 0.0f;
          squares += value * value;
          float &slope = slopes[m + i][p];
          slope = with_sign(coordinates[i][p], summary.mse_gradient * value +
                                                   summary.pair_gradient * residuals.slope[i][p]);
          along[p] += used ? coordinates[i][p] * slope : 0.0f;
        }
    }
    __syncthreads();
    store_rows(block, block.segments, first, own.stations(), slopes);
  }
#pragma unroll
  for (int p = 0; p < 4; ++p) {
    along[p] = Shape::sum_of_groups(along[p]);
    if (Shape::group() == 0)
      block.along[own.first + p] += along[p];
  }
  block.add_term(tile_mse, squares);
  block.add_term(tile_change, changes);
}

} // namespace bottomup
