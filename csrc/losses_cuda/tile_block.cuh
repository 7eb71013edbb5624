// What a block of the fused pass knows and keeps, and the products it makes of them.
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
