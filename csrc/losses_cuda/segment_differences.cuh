// How coordinates in the segment space differ between the pixels of a tile and their neighbours.
#pragma once

#include <cstdint>

#include "losses_cuda/tile_base.cuh"

namespace bottomup {

/// `slope` where `value` is positive, `-slope` where it is negative, 0 where it is zero.
__device__ __forceinline__ float with_sign(float value, float slope) {
  return value > 0 ? slope : value < 0 ? -slope : 0.0f;
}

/// The residuals (eq. 8) of a thread's pixels for a few entities, and the weighted signs of their
/// differences from neighbours.
template <int count> struct Residuals {
  int32_t entity; // the first of them
  float value[count][4], slope[count][4];
  float change = 0; // the sum of weighted differences, each pair once
};

__device__ __forceinline__ float residual(float coordinate, int32_t line, int32_t entity) {
  return fabsf(coordinate) - (line == entity ? 1.0f : 0.0f);
}

template <int count>
__device__ __forceinline__ void add_difference(Residuals<count> &residuals, int i, int p,
                                               float other, float weight, float counted) {
  const float difference = residuals.value[i][p] - other;
  residuals.slope[i][p] += with_sign(difference, weight);
  residuals.change += counted * fabsf(difference);
}

/// Differences on the finest scale, where all four pixels have neighbours: above and below, by wide
/// reads.
template <typename Block, int count>
__device__ __forceinline__ void compare_with_rows(const Block &block, const OwnPixels &own,
                                                  const Positions &position,
                                                  Residuals<count> &residuals) {
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
    for (int i = 0; i < count; ++i) {
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
template <typename Block, int count>
__device__ __forceinline__ void compare_in_row(const Block &block, const OwnPixels &own,
                                               const Positions &position,
                                               Residuals<count> &residuals) {
  const float weight = block.summary.pairs[0];
  const int left = block.tile.beside(own.place, 0, 0);
  const int right = block.tile.beside({own.place.y, own.place.x + 3}, 0, 2);
  const int32_t before = block.position[left], after = block.position[right];
  const float left_weight = position.of[0] >= 0 && before >= 0 ? weight : 0.0f;
  const float right_weight = position.of[3] >= 0 && after >= 0 ? weight : 0.0f;
#pragma unroll
  for (int i = 0; i < count; ++i) {
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
template <typename Block, int count>
__device__ __forceinline__ void compare_on_grids(const Block &block, const OwnPixels &own,
                                                 const Positions &position,
                                                 Residuals<count> &residuals) {
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
        for (int i = 0; i < count; ++i) {
          const int entity = residuals.entity + i;
          const bool counted = direction >= 2 && entity < block.summary.entities;
          add_difference(residuals, i, p,
                         residual(block.segments_of(entity)[station], line, entity), weight,
                         counted ? weight : 0.0f);
        }
      }
    }
}

/// Differences from all neighbours, on all scales.
template <typename Block, int count>
__device__ __forceinline__ void compare_with_neighbours(const Block &block, const OwnPixels &own,
                                                        const Positions &position,
                                                        Residuals<count> &residuals) {
  compare_with_rows(block, own, position, residuals);
  compare_in_row(block, own, position, residuals);
  compare_on_grids(block, own, position, residuals);
}

} // namespace bottomup
