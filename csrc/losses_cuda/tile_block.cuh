// A block that keeps the numbers of its pixels, one for each entity, and reads features twice.
#pragma once

#include <cstdint>

#include "losses_cuda/tile_base.cuh"

namespace bottomup {

// 16 rows of 4 pixels a thread are 64 sums for 5 numbers read in 16 bytes each, and about 250
// registers: 256 threads fill a multiprocessor. Up to 32 entities they do the largest tile, more
// leave room for a smaller one, and take more of the threads.
using FewEntities = WarpShape<16, 16, 512>;
using ManyEntities = WarpShape<4, 16, 128>;
using AnyEntities = WarpShape<4, 8, 128>; // whose numbers have longer addresses

/// Columns of a matrix, from a thread's first row on.
struct Columns {
  const float *first;
  int32_t stride;
};

/// Rows of the sums of a thread: what four pixels are to its rows of the entities.
template <typename Shape> using Rows = float[Shape::rows][4];

template <typename T, typename WarpShape, bool in_shared>
struct TileBlock : TileBase<T, WarpShape> {
  using Base = TileBase<T, WarpShape>;
  using Base::image;
  using Base::pass;
  using Base::position;
  using Base::stride;
  using Base::summary;
  using Base::tile;
  using Shape = WarpShape;

  __device__ explicit TileBlock(const FusedPass &fused) : Base(fused) {
    length = reinterpret_cast<float *>(position + stride);
    along = length + tile.pixels();
    cosines = along + tile.pixels();
    segments = cosines;
    const int64_t size = static_cast<int64_t>(pass.part.number_rows) * stride;
    copy = in_shared ? cosines + size : cosines;
    weight_of = copy + (pass.part.copies ? pass.part.copy_floats : 0);
    signs = reinterpret_cast<uint8_t *>(weight_of + pass.part.number_rows);
    if constexpr (!in_shared) {
      const int64_t block =
          (static_cast<int64_t>(blockIdx.z) * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
      cosines = pass.part.numbers + block * 2 * size;
      segments = cosines + size;
    }
  }

  __device__ const float *to_cosines() const {
    return pass.images.to_cosines + image() * pass.images.dimensions * pass.images.stride;
  }
  __device__ const float *to_segments() const {
    return pass.images.to_segments + image() * pass.images.most_segments * pass.images.stride;
  }

  /// The columns of a matrix for this thread's rows of a product with the entities from `first` on.
  __device__ Columns columns(const float *matrix, int first) const {
    return pass.part.copies ? Columns{copy + first + 4 * Shape::group(), Shape::entities}
                            : Columns{matrix + first + 4 * Shape::group(), pass.images.stride};
  }

  /// Copies the first columns of a matrix to shared memory if there is room, in place of the one
  /// before, whose last use is not after a barrier. The next use must be after one.
  __device__ void copy_matrix(const float *matrix, int rows, int columns, int stride) const {
    if (!pass.part.copies)
      return;
    for (int item = threadIdx.x; item < rows * columns / 4; item += static_cast<int>(blockDim.x)) {
      const int row = 4 * item / columns, column = 4 * item % columns;
      float four[4];
      load_four(matrix + static_cast<int64_t>(row) * stride + column, four);
      store_four(copy + 4 * item, four);
    }
  }

  /// Brings to shared memory what every thread asks for again and again.
  __device__ void copy_summary() const {
    const ImageLines &images = pass.images;
    const ImageSummary &source = images.summary[image()];
    if (threadIdx.x == 0)
      *shared_memory<ImageSummary>() = source;
    for (int line = threadIdx.x; line < source.lines; line += static_cast<int>(blockDim.x))
      weight_of[line] = images.weight_of[image() * images.labels + line];
  }

  /// What the derivatives of attraction and repulsion by a pixel's |cosine| are with its own line.
  __device__ float pull_of(int line) const {
    const bool attracts = line >= 0 && line < summary.entities; // unlike the background
    return attracts ? -summary.attraction_gradient * weight_of[line] : 0.0f;
  }

  /// The same with other lines.
  __device__ float push_of(int line) const {
    return line < 0 ? 0.0f : summary.repulsion_gradient * weight_of[line];
  }

  /// The numbers of an entity; those of the last for one that there is not.
  __device__ __forceinline__ const float *segments_of(int entity) const {
    const int last = summary.entities - 1;
    return segments + static_cast<int64_t>(entity < last ? entity : last) * stride;
  }

  // Shared by the block, after what the base has:
  float *length;    // (pixels): |f|
  float *along;     // (pixels): the derivative by a pixel's line, along that line
  float *cosines;   // (number_rows, stations), and derivatives by them
  float *segments;  // the same numbers; others if there are more than a product makes at a time
  float *copy;      // of the matrix in use, if there is room
  float *weight_of; // (number_rows): see ImageLines
  uint8_t *signs;   // (number_rows, quads): of cosines, 4 bits positive and 4 bits negative
};

} // namespace bottomup
