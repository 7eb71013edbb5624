// What every block of a fused pass knows of its tile, and how its threads share the pixels.
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
  /// Whether this is the group that speaks for all, found anew.
  static __device__ bool is_first_group() { return thread_index_anew() % kWarp < quads; }
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

/// A thread's four pixels of the tile: the first one's station and where it lies.
struct OwnPixels {
  int32_t first;
  Place place;

  __device__ Stations stations() const { return {first, 1}; }
};

/// Which line each pixel of a thread belongs to, -1 for none.
struct Positions {
  int32_t of[4];
};

inline constexpr float kEasy = 0.97f;
inline constexpr int64_t kSummaryBytes = (sizeof(ImageSummary) + 15) / 16 * 16;

template <typename T, typename WarpShape> struct TileBase {
  using Shape = WarpShape;
  using Type = T;

  __device__ explicit TileBase(const FusedPass &fused)
      : pass(fused), tile(fused.part.tile), summary(*shared_memory<ImageSummary>()),
        stride(tile.stations()) {
    partial = shared_memory<double>() + kSummaryBytes / sizeof(double);
    position = reinterpret_cast<int32_t *>(partial + blockDim.x / kWarp * tile_terms);
  }

  __device__ int64_t image() const { return blockIdx.z; }
  __device__ int first_y() const { return static_cast<int>(blockIdx.y) * tile.height; }
  __device__ int first_x() const { return static_cast<int>(blockIdx.x) * tile.width; }

  // Found anew where they are used, which costs less than the registers to remember them.
  __device__ const T *source() const {
    return static_cast<const T *>(pass.features.data) + image() * pass.features.batch_stride;
  }
  __device__ T *target() const {
    return static_cast<T *>(pass.gradient) + image() * pass.gradient_layout.batch_stride;
  }
  __device__ const float *lines() const {
    return pass.images.lines + image() * pass.images.labels * pass.images.dimensions;
  }

  __device__ bool has_background() const { return summary.lines > summary.entities; }

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

  __device__ OwnPixels pixels_from(int first) const {
    return {first, {first / tile.width, first % tile.width}};
  }

  /// This thread's pixels of the tile.
  __device__ OwnPixels own_pixels() const {
    const int thread = thread_index_anew();
    return pixels_from(4 * (thread / kWarp * Shape::quads + thread % Shape::quads));
  }

  __device__ PixelQuad quad_of(const OwnPixels &own) const {
    PixelQuad quad;
#pragma unroll
    for (int p = 0; p < 4; ++p)
      take_pixel(quad, p, {own.place.y, own.place.x + p});
    quad.together = quad.exists[3];
    return quad;
  }

  __device__ Positions positions_of(const OwnPixels &own) const {
    Positions result;
#pragma unroll
    for (int p = 0; p < 4; ++p)
      result.of[p] = position[own.first + p];
    return result;
  }

  __device__ void add_term(TileTerm term, float value) const {
    const double sum = warp_sum(static_cast<double>(value));
    const int thread = thread_index_anew();
    if (thread % kWarp == 0)
      partial[thread / kWarp * tile_terms + term] = sum;
  }

  /// The last that a block does.
  __device__ void write_sums() const {
    __syncthreads();
    if (threadIdx.x >= tile_terms)
      return;
    double sum = 0;
    for (unsigned warp = 0; warp < blockDim.x / kWarp; ++warp)
      sum += partial[warp * tile_terms + threadIdx.x];
    const int64_t number = blockIdx.y * gridDim.x + blockIdx.x + pass.part.first_block;
    pass.sums[(image() * pass.image_blocks + number) * tile_terms + threadIdx.x] = sum;
  }

  const FusedPass &pass;
  const Tile tile;
  const ImageSummary &summary;
  const int stride;

  // Shared by the block, after the summary:
  double *partial;   // (warps, tile_terms): what a warp adds up
  int32_t *position; // (stations): of the line that a pixel belongs to, -1 for none
};

} // namespace bottomup
