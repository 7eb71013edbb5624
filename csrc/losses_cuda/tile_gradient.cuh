// From the derivatives by the numbers of a tile's pixels to those by its features.
#pragma once

#include <cstdint>

#include "losses_cuda/tile_terms.cuh"

namespace bottomup {

/// What four pixels of a thread have in the derivatives of attraction and repulsion.
struct Slopes {
  Positions position;
  float pull[4], push[4];
};

/// Adds the derivatives of attraction and repulsion by the cosine with one line.
template <typename Block>
__device__ __forceinline__ void add_slopes(const Block &block, const OwnPixels &own,
                                           const Slopes &slopes, int line,
                                           float (&derivatives)[4]) {
  const unsigned signs = block.signs[line * (block.tile.pixels() / 4) + own.first / 4];
#pragma unroll
  for (int p = 0; p < 4; ++p) {
    const float slope = slopes.position.of[p] == line ? slopes.pull[p] : slopes.push[p];
    derivatives[p] += signs >> p & 1u ? slope : signs >> (4 + p) & 1u ? -slope : 0.0f;
  }
}

/// Derivatives by the cosines, from those by the segment-space coordinates.
template <typename Block>
__device__ __forceinline__ void differentiate_cosines(const Block &block, const OwnPixels &own) {
  using Shape = typename Block::Shape;
  const int entities = block.summary.entities;
  Slopes slopes{block.positions_of(own), {}, {}};
#pragma unroll
  for (int p = 0; p < 4; ++p) {
    slopes.pull[p] = block.pull_of(slopes.position.of[p]);
    slopes.push[p] = block.push_of(slopes.position.of[p]);
  }
  __syncwarp();
  for (int first = 0; first < entities; first += Shape::entities) {
    Rows<Shape> sums = {};
    if (block.summary.usable)
      multiply_numbers(block, first, block.segments, own.stations(), sums);
#pragma unroll
    for (int m = 0; m < Shape::rows; ++m)
      if (first + Shape::row(m) < entities)
        add_slopes(block, own, slopes, first + Shape::row(m), sums[m]);
    __syncwarp();
    store_rows(block, block.cosines, first, own.stations(), sums);
  }
  if (block.has_background() && Shape::group() == 0) {
    float derivatives[4] = {};
    add_slopes(block, own, slopes, entities, derivatives);
    store_four(block.cosines + static_cast<int64_t>(entities) * block.stride + own.first,
               derivatives);
  }
  __syncwarp();
}

/// The derivatives by the features: through the lines, the normalisation x = f / |f|, which takes
/// out what lies along the feature, and the norm term.
template <typename Block> __device__ __forceinline__ void write_gradient(const Block &block) {
  using Shape = typename Block::Shape;
  using T = typename Block::Type;
  constexpr int blocks = 2; // of four channels: with float32 a whole sector where they lie together
  const FusedPass &pass = block.pass;
  const ImageSummary &summary = block.summary;
  const OwnPixels own = block.own_pixels();
  const PixelQuad quad = block.quad_of(own);
  differentiate_cosines(block, own);
  if (pass.part.copies) {
    __syncthreads();
    block.copy_matrix(block.lines(), summary.lines, pass.images.dimensions, pass.images.dimensions);
    __syncthreads();
  }
  float inverse[4], radial[4];
#pragma unroll
  for (int p = 0; p < 4; ++p) {
    const int station = own.first + p;
    const float length = block.length[station];
    inverse[p] = 1 / fmaxf(length, kMinNorm);
    radial[p] = length >= kMinNorm ? -block.along[station] * inverse[p] * inverse[p] : 0.0f;
    if (length > 0 && block.position[station] >= 0)
      radial[p] += summary.norm_gradient * (length - 1) / length;
  }

  const T *source = block.source();
  T *target = block.target();
  const int dimensions = static_cast<int>(pass.features.dimensions);
  for (int d = 4 * blocks * Shape::group(); d < dimensions; d += 4 * blocks * Shape::groups) {
    float features[blocks][4][4], sums[blocks][4][4] = {};
#pragma unroll
    for (int b = 0; b < blocks; ++b)
      if (b == 0 || d + 4 * b < dimensions)
        load_block(pass.features, pass.access, source, quad, d + 4 * b, features[b]);
    const float *lines = (pass.part.copies ? block.copy : block.lines()) + d,
                *derivatives = block.cosines + own.first;
#pragma unroll 2
    for (int j = 0; j < summary.lines; ++j) {
      float values[4];
      load_four(derivatives, values);
#pragma unroll
      for (int b = 0; b < blocks; ++b) {
        float weights[4];
        load_four(lines + 4 * b, weights);
#pragma unroll
        for (int c = 0; c < 4; ++c)
#pragma unroll
          for (int p = 0; p < 4; ++p)
            sums[b][c][p] += weights[c] * values[p];
      }
      lines += pass.images.dimensions;
      derivatives += block.stride;
    }
#pragma unroll
    for (int b = 0; b < blocks; ++b) {
      if (b > 0 && d + 4 * b >= dimensions)
        break;
#pragma unroll
      for (int c = 0; c < 4; ++c)
#pragma unroll
        for (int p = 0; p < 4; ++p)
          sums[b][c][p] = inverse[p] * sums[b][c][p] + radial[p] * features[b][c][p];
      store_block(pass.gradient_layout, pass.gradient_access, target, quad, d + 4 * b, sums[b]);
    }
  }
}

} // namespace bottomup
