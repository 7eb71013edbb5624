// A block that keeps the features of its pixels and of their neighbours, and takes few entities at
// a time: features are read once, and of the lines and their inverse each tile reads each once.
#pragma once

#include <cstdint>
#include <type_traits>

#include "losses_cuda/tile_base.cuh"

namespace bottomup {

// A thread has one entity of eight for its four pixels, and 16 channels of their gradient: 64 sums
// that last, for 5 numbers read in 16 bytes each. 128 registers are left for each of 512 threads.
template <typename T> using KeptFeatures = WarpShape<4, 1, sizeof(T) == 2 ? 256 : 192>;

inline constexpr int kGradientBlocks = 4; // of four channels
inline constexpr int kMostKept = 4 * kGradientBlocks * KeptFeatures<float>::groups; // channels
inline constexpr int kRowPadding = 4; // numbers, so that groups read rows from different banks

/// What four neighbouring pixels of a thread are to one entity.
struct Products {
  float cosine[4], coordinate[4];
};

template <typename T> struct FeatureTile : TileBase<T, KeptFeatures<T>> {
  using Base = TileBase<T, KeptFeatures<T>>;
  using Base::has_background;
  using Base::image;
  using Base::pass;
  using Base::position;
  using Base::source;
  using Base::stride;
  using Base::summary;
  using Base::tile;
  using Shape = KeptFeatures<T>;
  using Kept = std::conditional_t<sizeof(T) == 2, T, float>;

  /// Bytes of shared memory for tiles of so many channels, in whole eights.
  static int64_t shared_bytes(const Tile &tile, int64_t dimensions) {
    const int64_t threads = tile.pixels() / 4 * Shape::groups, stations = tile.stations();
    const int64_t numbers = (2 + Shape::entities) * stations + tile.pixels() +
                            2 * Shape::entities * (dimensions + kRowPadding);
    return kSummaryBytes + threads / kWarp * tile_terms * static_cast<int64_t>(sizeof(double)) +
           numbers * static_cast<int64_t>(sizeof(float)) +
           dimensions * stations * static_cast<int64_t>(sizeof(Kept)) + tile.pixels();
  }

  __device__ explicit FeatureTile(const FusedPass &fused) : Base(fused) {
    length = reinterpret_cast<float *>(position + stride);
    weight = length + stride;
    numbers = weight + tile.pixels();
    rows = numbers + Shape::entities * stride;
    features = reinterpret_cast<Kept *>(rows + 2 * Shape::entities * row_stride());
    easy = reinterpret_cast<uint8_t *>(features + dimensions() * stride);
  }

  __device__ int dimensions() const { return pass.images.dimensions; }
  __device__ int row_stride() const { return pass.images.dimensions + kRowPadding; }

  /// The line of entity `entity` of those at a time, and that of the inverse.
  __device__ const float *line_row(int entity) const { return rows + entity * row_stride(); }
  __device__ const float *inverse_row(int entity) const {
    return rows + (Shape::entities + entity) * row_stride();
  }

  /// Numbers of an entity: its coordinates, or derivatives.
  __device__ float *segments_of(int entity) const {
    return numbers + entity % Shape::entities * stride;
  }

  __device__ void keep(int channel, int station, const float (&values)[4]) const {
    store_four(features + channel * stride + station, values);
  }

  /// By the thread that found the pixel's position.
  __device__ void load_weights() const {
    const float *weight_of = pass.images.weight_of + image() * pass.images.labels;
    for (int pixel = threadIdx.x; pixel < tile.pixels(); pixel += static_cast<int>(blockDim.x))
      weight[pixel] = position[pixel] >= 0 ? weight_of[position[pixel]] : 0.0f;
  }

  /// Features of the tile's pixels, by fours.
  __device__ __forceinline__ void load_pixels() const {
    const int quads = tile.pixels() / 4, blocks = dimensions() / 4;
    const bool across = pass.access == Access::along_channels;
    for (int item = threadIdx.x; item < quads * blocks; item += static_cast<int>(blockDim.x)) {
      const int quad = across ? item / blocks : item % quads;
      const int channel = 4 * (across ? item % blocks : item / quads);
      float values[4][4] = {};
      if (channel < pass.features.dimensions)
        load_block(pass.features, pass.access, source(), this->quad_of(this->pixels_from(4 * quad)),
                   channel, values);
#pragma unroll
      for (int c = 0; c < 4; ++c)
        keep(channel + c, 4 * quad, values[c]);
    }
  }

  /// Features of their neighbours, one by one: a warp takes those that share sectors of memory.
  __device__ __forceinline__ void load_neighbours() const {
    const int blocks = dimensions() / 4, count = stride - tile.pixels();
    const bool across = pass.access == Access::along_channels;
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
    const int warp = static_cast<int>(threadIdx.x) / kWarp;
    const int warps = static_cast<int>(blockDim.x) / kWarp;
    const int inner = across ? blocks : count, outer = across ? count : blocks;
    for (int i = warp; i < outer; i += warps)
      for (int j = lane; j < inner; j += kWarp) {
        const int index = across ? i : j, channel = 4 * (across ? j : i);
        PixelQuad pixel{};
        if (index < tile.neighbours())
          this->take_pixel(pixel, 0, tile.neighbour(index));
        pixel.exists[0] = pixel.exists[0] && channel < pass.features.dimensions;
        float values[4][4];
        load_block(pass.features, pass.access, source(), pixel, channel, values);
#pragma unroll
        for (int c = 0; c < 4; ++c)
          features[(channel + c) * stride + tile.pixels() + index] = from_float<Kept>(values[c][0]);
      }
  }

  /// Lengths of the pixels of four stations; `group` of each warp takes its share of the channels.
  __device__ __forceinline__ void measure(int station) const {
    float squares[4] = {};
    for (int d = Shape::group(); d < dimensions(); d += Shape::groups) {
      float values[4];
      load_four(features + d * stride + station, values);
#pragma unroll
      for (int p = 0; p < 4; ++p)
        squares[p] += values[p] * values[p];
    }
#pragma unroll
    for (int p = 0; p < 4; ++p) {
      const float sum = Shape::sum_of_groups(squares[p]);
      if (Shape::is_first_group())
        length[station + p] = sqrtf(sum);
      if (station < tile.pixels() && !(sum <= kLargest))
        atomicMax(pass.input_status, static_cast<int32_t>(Status::non_finite_features));
    }
  }

  __device__ void load_row(const TileRows &source, int64_t row, int channel,
                           float (&values)[4]) const {
    const int64_t first = row * dimensions() + channel;
    if (source.rounded)
      load_four(source.rounded + first, values);
    else
      load_four(source.exact + first, values);
  }

  /// Brings the lines of the entities from `first` on, and their rows of the inverse.
  __device__ __forceinline__ void load_rows(int first) const {
    const int blocks = dimensions() / 4;
    const ImageLines &images = pass.images;
    const int64_t first_line = image() * images.labels + first;
    const int64_t first_segment = image() * images.most_segments + first;
    for (int item = threadIdx.x; item < 2 * Shape::entities * blocks;
         item += static_cast<int>(blockDim.x)) {
      const int row = item / blocks, channel = 4 * (item % blocks);
      const int entity = row % Shape::entities;
      float values[4] = {};
      if (row < Shape::entities && first + entity < summary.lines)
        load_row(images.tile_lines, first_line + entity, channel, values);
      if (row >= Shape::entities && summary.usable && first + entity < summary.entities)
        load_row(images.inverse, first_segment + entity, channel, values);
      store_four(rows + row * row_stride() + channel, values);
    }
  }

  /// Cosines and segment-space coordinates (eq. 7) of four pixels, for this thread's entity.
  template <bool with_cosines> __device__ __forceinline__ Products multiply(int station) const {
    const float *line = line_row(Shape::group()), *inverse = inverse_row(Shape::group());
    const Kept *source_of_four = features + station;
    Products result{};
#pragma unroll 2
    for (int d = 0; d < dimensions(); d += 4) {
      float of_line[4], of_inverse[4];
      if (with_cosines)
        load_four(line + d, of_line);
      load_four(inverse + d, of_inverse);
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        float values[4];
        load_four(source_of_four + c * stride, values);
#pragma unroll
        for (int p = 0; p < 4; ++p) {
          if (with_cosines)
            result.cosine[p] += of_line[c] * values[p];
          result.coordinate[p] += of_inverse[c] * values[p];
        }
      }
      source_of_four += 4 * stride;
    }
#pragma unroll
    for (int p = 0; p < 4; ++p) {
      const float inverse_length = 1 / fmaxf(length[station + p], kMinNorm);
      result.cosine[p] *= inverse_length;
      result.coordinate[p] *= inverse_length;
    }
    return result;
  }

  // Shared by the block, after what the base has:
  float *length;  // (stations): |f|
  float *weight;  // (pixels): see ImageLines
  float *numbers; // (entities at a time, stations)
  float *rows;    // (2, entities at a time, row_stride): lines, and rows of the inverse
  Kept *features; // (dimensions, stations)
  uint8_t *easy;  // (pixels): whether nearer than 0.97 to its line
};

} // namespace bottomup
