// The products that a warp makes of features and of numbers of pixels.
#pragma once

#include <cstdint>

#include "losses_cuda/tile_block.cuh"

namespace bottomup {

/// sums[m][p] += row(m) of a matrix whose columns are given, times values[p].
template <typename Shape>
__device__ __forceinline__ void add_products(const float *column, const float (&values)[4],
                                             Rows<Shape> &sums) {
#pragma unroll
  for (int m = 0; m < Shape::rows; m += 4) {
    float weights[4];
    load_four(column + m * Shape::groups, weights);
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int p = 0; p < 4; ++p)
        sums[m + i][p] += weights[i] * values[p];
  }
}

/// Products of the features of four pixels with the entities from `first` on, with the background
/// and with themselves.
template <typename Block>
__device__ __forceinline__ void multiply_features(const Block &block, const PixelQuad &quad,
                                                  int first, Rows<typename Block::Shape> &sums,
                                                  float (&background)[4], float (&squares)[4]) {
  const FusedPass &pass = block.pass;
  const int dimensions = static_cast<int>(pass.features.dimensions);
  const float *line =
      block.lines() + static_cast<int64_t>(block.summary.entities) * pass.images.dimensions;
  Columns columns = block.columns(block.to_cosines(), first);
  const auto *source = block.source();
  float ahead[4][4];
  load_block(pass.features, pass.access, source, quad, 0, ahead);
#pragma unroll 1
  for (int d = 0; d < dimensions; d += 4) {
    float features[4][4], weights[4] = {};
#pragma unroll
    for (int c = 0; c < 4; ++c)
#pragma unroll
      for (int p = 0; p < 4; ++p)
        features[c][p] = ahead[c][p];
    if (d + 4 < dimensions)
      load_block(pass.features, pass.access, source, quad, d + 4, ahead);
    if (block.has_background())
      load_four(line + d, weights);
#pragma unroll
    for (int c = 0; c < 4; ++c) {
      add_products<typename Block::Shape>(columns.first, features[c], sums);
      columns.first += columns.stride;
#pragma unroll
      for (int p = 0; p < 4; ++p) {
        background[p] += weights[c] * features[c][p];
        squares[p] += features[c][p] * features[c][p];
      }
    }
  }
}

/// sums += the rows from `first` on of (M^T M)^-1 times the numbers of four stations.
template <typename Block>
__device__ __forceinline__ void multiply_numbers(const Block &block, int first,
                                                 const float *numbers, Stations at,
                                                 Rows<typename Block::Shape> &sums) {
  Columns columns = block.columns(block.to_segments(), first);
#pragma unroll 2
  for (int j = 0; j < block.summary.entities; ++j) {
    float values[4];
    if (at.step == 1)
      load_four(numbers + at.first, values);
    else
#pragma unroll
      for (int p = 0; p < 4; ++p)
        values[p] = at.first + p * at.step < block.stride ? numbers[at.first + p * at.step] : 0.0f;
    add_products<typename Block::Shape>(columns.first, values, sums);
    columns.first += columns.stride;
    numbers += block.stride;
  }
}

template <typename Block>
__device__ __forceinline__ void store_rows(const Block &block, float *numbers, int first,
                                           Stations at, const Rows<typename Block::Shape> &sums) {
#pragma unroll
  for (int m = 0; m < Block::Shape::rows; ++m) {
    const int entity = first + Block::Shape::row(m);
    if (entity >= block.summary.entities)
      continue;
    float *row = numbers + static_cast<int64_t>(entity) * block.stride + at.first;
    if (at.step == 1)
      store_four(row, sums[m]);
    else
#pragma unroll
      for (int p = 0; p < 4; ++p)
        if (at.first + p * at.step < block.stride)
          row[p * at.step] = sums[m][p];
  }
}

/// work(index) for the neighbours of the tile that this warp takes, from `index` on, and of these
/// for this thread the first of four that are as far apart as a warp takes quads.
template <typename Block, typename Work>
__device__ __forceinline__ void for_neighbours(const Block &block, const Work &work) {
  constexpr int pixels = 4 * Block::Shape::quads;
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  for (int start = static_cast<int>(threadIdx.x) / kWarp * pixels; start < block.tile.neighbours();
       start += warps * pixels)
    work(start + Block::Shape::quad());
}

/// Cosines of the pixels around the tile.
template <typename Block> __device__ __forceinline__ void measure_neighbours(const Block &block) {
  using Shape = typename Block::Shape;
  for_neighbours(block, [&](int index) {
    PixelQuad quad;
    quad.together = false;
#pragma unroll
    for (int p = 0; p < 4; ++p) {
      block.take_pixel(quad, p, block.tile.neighbour(index + p * Shape::quads));
      quad.exists[p] = quad.exists[p] && index + p * Shape::quads < block.tile.neighbours();
    }
    for (int first = 0; first < block.summary.entities; first += Shape::entities) {
      Rows<Shape> sums = {};
      float background[4] = {}, squares[4] = {};
      multiply_features(block, quad, first, sums, background, squares);
#pragma unroll
      for (int p = 0; p < 4; ++p) {
        const float inverse = 1 / fmaxf(sqrtf(squares[p]), kMinNorm);
#pragma unroll
        for (int m = 0; m < Shape::rows; ++m)
          sums[m][p] *= inverse;
      }
      store_rows(block, block.cosines, first, {block.tile.pixels() + index, Shape::quads}, sums);
    }
  });
}

/// Segment-space coordinates (eq. 7) of stations of this warp, from their cosines.
template <typename Block>
__device__ __forceinline__ void find_segments(const Block &block, Stations at) {
  using Shape = typename Block::Shape;
  __syncwarp();
  for (int first = 0; first < block.summary.entities; first += Shape::entities) {
    Rows<Shape> sums = {};
    multiply_numbers(block, first, block.cosines, at, sums);
    __syncwarp();
    store_rows(block, block.segments, first, at, sums);
  }
}

/// Those of all stations.
template <typename Block> __device__ __forceinline__ void find_segments(const Block &block) {
  if (block.pass.part.copies) {
    __syncthreads();
    block.copy_matrix(block.to_segments(), block.summary.entities, Block::Shape::entities,
                      block.pass.images.stride);
    __syncthreads();
  }
  find_segments(block, block.own_pixels().stations());
  for_neighbours(block, [&](int index) {
    find_segments(block, {block.tile.pixels() + index, Block::Shape::quads});
  });
}

} // namespace bottomup
