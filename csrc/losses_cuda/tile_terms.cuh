// The terms of a tile, and their derivatives by the numbers of its pixels.
#pragma once

#include <cstdint>

#include "common/status.h"
#include "losses_cuda/segment_differences.cuh"
#include "losses_cuda/tile_products.cuh"

namespace bottomup {

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
  const Positions position = block.positions_of(own);
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
    const float weight = line >= 0 ? block.weight_of[line] : 0.0f;
    attracted += line < entities ? weight * (1 - mine[p]) : 0.0f;
    repelled += weight * others[p];
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

/// Segment-space MSE and gradient (eq. 8). Derivatives by the coordinates take their place.
template <typename Block>
__device__ __forceinline__ void compare_in_segment_space(const Block &block) {
  using Shape = typename Block::Shape;
  const ImageSummary &summary = block.summary;
  const OwnPixels own = block.own_pixels();
  const Positions position = block.positions_of(own);
  float along[4] = {}, squares = 0, changes = 0;
  __syncthreads();
  for (int first = 0; first < summary.entities; first += Shape::entities) {
    Rows<Shape> slopes;
#pragma unroll
    for (int m = 0; m < Shape::rows; m += 4) {
      Residuals<4> residuals{first + Shape::row(m), {}, {}};
      float coordinates[4][4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int entity = residuals.entity + i;
        load_four(block.segments_of(entity) + own.first, coordinates[i]);
#pragma unroll
        for (int p = 0; p < 4; ++p)
          residuals.value[i][p] = residual(coordinates[i][p], position.of[p], entity);
      }
      compare_with_neighbours(block, own, position, residuals);
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
