// What a block of the fused pass knows and keeps, and how its threads share the work.
#pragma once

#include <cstdint>

#include "common/ptx.h"
#include "losses_cuda/block.cuh"
#include "losses_cuda/feature_block.cuh"
#include "losses_cuda/fused_pass.h"

namespace bottomup {

/// How a warp shares a product: lanes side by side take quads of pixels, groups of such lanes take
/// rows of the result.
template <int quads_, int rows_, int most_pixels> struct WarpShape {
  static constexpr int quads = quads_, groups = kWarp / quads_, rows = rows_;
  static constexpr int entities = groups * rows; // of a product
  static constexpr int most_threads = most_pixels / 4 * groups;

  static __device__ int quad() { return static_cast<int>(threadIdx.x) % quads; }
  static __device__ int group() { return static_cast<int>(threadIdx.x) % kWarp / quads; }
  /// Row m of this thread.
  static __device__ int row(int m) { return m / 4 * 4 * groups + 4 * group() + m % 4; }

  /// The sum over the groups, the same bits in each.
  static __device__ __forceinline__ float sum_of_groups(float value) {
#pragma unroll
    for (int step = quads; step < kWarp; step *= 2)
      value += __shfl_xor_sync(kAllLanes, value, step);
    return value;
  }
};

// 16 rows of 4 pixels a thread are 64 sums for 5 numbers read in 16 bytes each, and about 250
// registers: 256 threads fill a multiprocessor. Up to 32 entities they do the largest tile, more
// leave room for a smaller one, and take more of the threads.
using FewEntities = WarpShape<16, 16, 512>;
using ManyEntities = WarpShape<4, 16, 128>;
using AnyEntities = WarpShape<4, 8, 128>; // whose numbers have longer addresses

/// Four stations that a thread works on, `step` apart.
struct Stations {
  int32_t first, step;
};

/// Columns of a matrix, from a thread's first row on.
struct Columns {
  const float *first;
  int32_t stride;
};

/// A thread's four pixels of the tile: the first one's station and where it lies.
struct OwnPixels {
  int32_t first;
  Place place;

  __device__ Stations stations() const { return {first, 1}; }
};

/// Rows of the sums of a thread: what four pixels are to its rows of the entities.
template <typename Shape> using Rows = float[Shape::rows][4];

inline constexpr int64_t kSummaryBytes = (sizeof(ImageSummary) + 15) / 16 * 16;

template <typename T, typename WarpShape, bool in_shared> struct TileBlock {
  using Shape = WarpShape;
  using Type = T;

  __device__ explicit TileBlock(const FusedPass &fused)
      : pass(fused), tile(fused.part.tile), summary(*shared_memory<ImageSummary>()),
        stride(tile.stations()) {
    partial = shared_memory<double>() + kSummaryBytes / sizeof(double);
    position = reinterpret_cast<int32_t *>(partial + blockDim.x / kWarp * tile_terms);
    length = reinterpret_cast<float *>(position + stride);
    along = length + tile.pixels();
    cosines = along + tile.pixels();
    segments = cosines;
    const int64_t size = static_cast<int64_t>(pass.part.number_rows) * stride;
    copy = in_shared ? cosines + size : cosines;
    attraction_of = copy + (pass.part.copies ? pass.part.copy_floats : 0);
    repulsion_of = attraction_of + pass.part.number_rows;
    signs = reinterpret_cast<uint8_t *>(repulsion_of + pass.part.number_rows);
    if constexpr (!in_shared) {
      const int64_t block =
          (static_cast<int64_t>(blockIdx.z) * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
      cosines = pass.part.numbers + block * 2 * size;
      segments = cosines + size;
    }
  }

  __device__ int64_t image() const { return blockIdx.z; }
  __device__ int first_y() const { return static_cast<int>(blockIdx.y) * tile.height; }
  __device__ int first_x() const { return static_cast<int>(blockIdx.x) * tile.width; }

  // Found anew where they are used, which costs less than the registers to remember them.
  __device__ const T *source() const {
    return static_cast<const T *>(pass.features.data) + image() * pass.features.batch_stride;
  }
  __device__ const float *lines() const {
    return pass.images.lines + image() * pass.images.labels * pass.images.dimensions;
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

  __device__ bool has_background() const { return summary.lines > summary.entities; }

  /// Brings to shared memory what every thread asks for again and again.
  __device__ void copy_summary() const {
    const ImageLines &images = pass.images;
    const ImageSummary &source = images.summary[image()];
    if (threadIdx.x == 0)
      *shared_memory<ImageSummary>() = source;
    for (int line = threadIdx.x; line < source.lines; line += static_cast<int>(blockDim.x)) {
      attraction_of[line] = images.attraction_of[image() * images.labels + line];
      repulsion_of[line] = images.repulsion_of[image() * images.labels + line];
    }
  }

  /// Which line the pixel of every station belongs to.
  __device__ void find_positions() const {
    const int64_t pixels = static_cast<int64_t>(pass.height) * pass.width;
    const int32_t *labels = pass.labels + image() * pixels;
    const int32_t *position_of_label = pass.images.position + image() * pass.images.labels;
    for (int station = threadIdx.x; station < stride; station += static_cast<int>(blockDim.x)) {
      const int other = station - tile.pixels();
      const Place at =
          other < 0 ? Place{station / tile.width, station % tile.width} : tile.neighbour(other);
      const int y = first_y() + at.y, x = first_x() + at.x;
      int label = -1;
      if (y >= 0 && y < pass.height && x >= 0 && x < pass.width)
        label = labels[static_cast<int64_t>(y) * pass.width + x];
      position[station] = label >= 0 && label < pass.images.labels ? position_of_label[label] : -1;
    }
  }

  __device__ void take_pixel(PixelQuad &quad, int p, Place at) const {
    const int y = first_y() + at.y, x = first_x() + at.x;
    quad.exists[p] = y >= 0 && y < pass.height && x >= 0 && x < pass.width;
    quad.pixel[p] = y * pass.width + x;
  }

  /// This thread's pixels of the tile.
  __device__ OwnPixels own_pixels() const {
    const int thread = thread_index_anew();
    const int first = 4 * (thread / kWarp * Shape::quads + thread % Shape::quads);
    return {first, {first / tile.width, first % tile.width}};
  }

  __device__ PixelQuad quad_of(const OwnPixels &own) const {
    PixelQuad quad;
#pragma unroll
    for (int p = 0; p < 4; ++p)
      take_pixel(quad, p, {own.place.y, own.place.x + p});
    quad.together = quad.exists[3];
    return quad;
  }

  __device__ void add_term(TileTerm term, float value) const {
    const double sum = warp_sum(static_cast<double>(value));
    if (threadIdx.x % kWarp == 0)
      partial[threadIdx.x / kWarp * tile_terms + term] = sum;
  }

  /// What the derivatives of attraction and repulsion by a pixel's |cosine| are with its own line.
  __device__ float pull_of(int line) const {
    return line < 0 ? 0.0f : -summary.attraction_gradient * attraction_of[line];
  }

  /// The same with other lines.
  __device__ float push_of(int line) const {
    return line < 0 ? 0.0f : summary.repulsion_gradient * repulsion_of[line];
  }

  /// The numbers of an entity; those of the last for one that there is not.
  __device__ __forceinline__ const float *segments_of(int entity) const {
    const int last = summary.entities - 1;
    return segments + static_cast<int64_t>(entity < last ? entity : last) * stride;
  }

  const FusedPass &pass;
  const Tile tile;
  const ImageSummary &summary;
  const int stride;

  // Shared by the block, after the summary:
  double *partial;   // (warps, tile_terms): what a warp adds up
  int32_t *position; // (stations): of the line that a pixel belongs to, -1 for none
  float *length;     // (pixels): |f|
  float *along;      // (pixels): the derivative by a pixel's line, along that line
  float *cosines;    // (number_rows, stations), and derivatives by them
  float *segments;   // the same numbers; others if there are more than a product makes at a time
  float *copy;       // of the matrix in use, if there is room
  float *attraction_of, *repulsion_of; // (number_rows): weights of pixels, see ImageLines
  uint8_t *signs; // (number_rows, quads): of cosines, 4 bits positive and 4 bits negative
};

} // namespace bottomup
