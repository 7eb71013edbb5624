// The fused pass of a block that keeps the features of its tile.
#pragma once

#include <cstdint>

#include "common/status.h"
#include "losses_cuda/feature_tile.cuh"
#include "losses_cuda/segment_differences.cuh"

namespace bottomup {

/// What a thread adds up of the terms.
struct TermSums {
  float attracted = 0, repelled = 0, squares = 0, changes = 0;
};

/// Derivatives by the features of four pixels over their lengths, of this thread's channels.
using GradientSums = float[kGradientBlocks][4][4];

/// Attraction and repulsion (eq. 5 and 6) with one line: cosines become the derivatives by them.
template <typename Block>
__device__ __forceinline__ void compare_with_line(const Block &block, int station, int line,
                                                  float (&cosine)[4], TermSums &sums) {
  const ImageSummary &summary = block.summary;
  const bool attracts = line < summary.entities; // unlike the background
  float weights[4];
  load_four(block.weight + station, weights);
#pragma unroll
  for (int p = 0; p < 4; ++p) {
    const bool mine = block.position[station + p] == line;
    const float size = fabsf(cosine[p]);
    if (mine)
      block.easy[station + p] = size >= kEasy;
    sums.attracted += mine && attracts ? weights[p] * (1 - size) : 0.0f;
    sums.repelled += mine ? 0.0f : weights[p] * size;
    const float pull = attracts ? -summary.attraction_gradient : 0.0f;
    cosine[p] = with_sign(cosine[p], (mine ? pull : summary.repulsion_gradient) * weights[p]);
  }
}

/// Segment-space MSE and gradient (eq. 8) of one entity: coordinates become the derivatives by
/// them.
template <typename Block>
__device__ __forceinline__ void compare_in_segment_space(const Block &block, const OwnPixels &own,
                                                         int entity, float (&coordinate)[4],
                                                         TermSums &sums) {
  const Positions position = block.positions_of(own);
  const ImageSummary &summary = block.summary;
  Residuals<1> residuals{entity, {}, {}};
#pragma unroll
  for (int p = 0; p < 4; ++p)
    residuals.value[0][p] = residual(coordinate[p], position.of[p], entity);
  compare_with_neighbours(block, own, position, residuals);
  sums.changes += residuals.change;
#pragma unroll
  for (int p = 0; p < 4; ++p) {
    const bool used = entity < summary.entities && position.of[p] >= 0;
    const float value = used ? residuals.value[0][p] : 0.0f;
    sums.squares += value * value;
    coordinate[p] = with_sign(coordinate[p], summary.mse_gradient * value +
                                                 summary.pair_gradient * residuals.slope[0][p]);
  }
}

/// Adds the derivatives by the products of a warp's pixels with rows of the features' space.
template <typename Block>
__device__ __forceinline__ void add_gradient(const Block &block, int station,
                                             const float (&derivatives)[4], const float *row,
                                             GradientSums &gradient) {
  using Shape = typename Block::Shape;
  store_four(block.segments_of(Shape::group()) + station, derivatives);
  __syncwarp();
#pragma unroll 2
  for (int j = 0; j < Shape::entities; ++j) {
    float values[4];
    load_four(block.segments_of(j) + station, values);
#pragma unroll
    for (int b = 0; b < kGradientBlocks; ++b) {
      const int channel = 4 * (b * Shape::groups + Shape::group());
      if (channel >= block.dimensions())
        continue;
      float weights[4];
      load_four(row + channel, weights);
#pragma unroll
      for (int c = 0; c < 4; ++c)
#pragma unroll
        for (int p = 0; p < 4; ++p)
          gradient[b][c][p] += weights[c] * values[p];
    }
    row += block.row_stride();
  }
  __syncwarp();
}

/// Through the normalisation x = f / |f|, which takes out what lies along the feature, and the norm
/// term (eq. 3).
template <typename Block>
__device__ __forceinline__ void write_gradient(const Block &block, const OwnPixels &own,
                                               GradientSums &gradient) {
  const Positions position = block.positions_of(own);
  using Shape = typename Block::Shape;
  const FusedPass &pass = block.pass;
  const PixelQuad quad = block.quad_of(own);
  float along[4] = {}, inverse[4], radial[4];
#pragma unroll
  for (int b = 0; b < kGradientBlocks; ++b)
#pragma unroll
    for (int c = 0; c < 4; ++c) {
      const int channel = 4 * (b * Shape::groups + Shape::group()) + c;
      if (channel >= block.dimensions())
        continue;
      float features[4];
      load_four(block.features + channel * block.stride + own.first, features);
#pragma unroll
      for (int p = 0; p < 4; ++p)
        along[p] += gradient[b][c][p] * features[p];
    }
#pragma unroll
  for (int p = 0; p < 4; ++p) {
    const float length = block.length[own.first + p], all = Shape::sum_of_groups(along[p]);
    inverse[p] = 1 / fmaxf(length, kMinNorm);
    radial[p] = length >= kMinNorm ? -(all * inverse[p]) * inverse[p] * inverse[p] : 0.0f;
    if (length > 0 && position.of[p] >= 0)
      radial[p] += block.summary.norm_gradient * (length - 1) / length;
  }
#pragma unroll
  for (int b = 0; b < kGradientBlocks; ++b) {
    const int channel = 4 * (b * Shape::groups + Shape::group());
    if (channel >= pass.features.dimensions)
      continue;
#pragma unroll
    for (int c = 0; c < 4; ++c) {
      float features[4];
      load_four(block.features + (channel + c) * block.stride + own.first, features);
#pragma unroll
      for (int p = 0; p < 4; ++p)
        gradient[b][c][p] = inverse[p] * gradient[b][c][p] + radial[p] * features[p];
    }
    store_block(pass.gradient_layout, pass.gradient_access, block.target(), quad, channel,
                gradient[b]);
  }
}

/// What is left of the terms when all entities are through.
template <typename Block>
__device__ __forceinline__ void finish_terms(const Block &block, const OwnPixels &own,
                                             const TermSums &sums) {
  const Positions position = block.positions_of(own);
  using Shape = typename Block::Shape;
  const FusedPass &pass = block.pass;
  const PixelQuad quad = block.quad_of(own);
  float deviated = 0;
  __syncwarp();
  const bool speaks = Shape::is_first_group();
#pragma unroll
  for (int p = 0; p < 4; ++p) {
    if (!speaks)
      continue;
    const bool valid = position.of[p] >= 0;
    const float deviation = valid ? block.length[own.first + p] - 1 : 0.0f;
    deviated += deviation * deviation;
    if (pass.easy && quad.exists[p])
      pass.easy[block.image() * pass.height * pass.width + quad.pixel[p]] =
          valid ? block.easy[own.first + p] : 0;
  }
  block.add_term(tile_attraction, sums.attracted);
  block.add_term(tile_repulsion, sums.repelled);
  block.add_term(tile_deviation, deviated);
  block.add_term(tile_mse, sums.squares);
  block.add_term(tile_change, sums.changes);
}

template <typename T>
__global__ void __launch_bounds__(KeptFeatures<T>::most_threads) feature_pass(FusedPass pass) {
  using Shape = KeptFeatures<T>;
  const ImageSummary &source = pass.images.summary[blockIdx.z];
  if (source.entities < pass.part.least || source.entities > pass.part.most)
    return;
  const FeatureTile<T> block(pass);
  if (threadIdx.x == 0)
    *shared_memory<ImageSummary>() = source;
  const bool usable = source.usable;
  block.find_positions();
  block.load_weights();
  block.load_pixels();
  if (usable)
    block.load_neighbours();
  __syncthreads();

  const int first_pixel = block.own_pixels().first;
  const int around = block.tile.pixels() + first_pixel; // at least as many as are neighbours
  const bool has_around = usable && around < block.stride;
  block.measure(first_pixel);
  if (usable)
    block.measure(has_around ? around : first_pixel);
  TermSums sums;
  GradientSums gradient = {};
  for (int first = 0; first < block.summary.lines; first += Shape::entities) {
    const int entity = first + Shape::group();
    __syncthreads();
    block.load_rows(first);
    __syncthreads();
    Products products = block.template multiply<true>(first_pixel);
    compare_with_line(block, first_pixel, entity, products.cosine, sums);
    if (pass.gradient)
      add_gradient(block, first_pixel, products.cosine, block.line_row(0), gradient);
    if (!usable)
      continue;
    if (has_around)
      store_four(block.segments_of(entity) + around,
                 block.template multiply<false>(around).coordinate);
    store_four(block.segments_of(entity) + first_pixel, products.coordinate);
    __syncthreads();
    compare_in_segment_space(block, block.own_pixels(), entity, products.coordinate, sums);
    __syncthreads();
    if (pass.gradient)
      add_gradient(block, first_pixel, products.coordinate, block.inverse_row(0), gradient);
  }
  finish_terms(block, block.own_pixels(), sums);
  if (pass.gradient)
    write_gradient(block, block.own_pixels(), gradient);
  block.write_sums();
}

} // namespace bottomup
