// Scatter matrices A_i = sum of x x^T over the pixels of every label (equation 4), in chunks.
#pragma once

#include <cstdint>

#include "common/feature_maps.h"
#include "common/ptx.h"
#include "common/status.h"
#include "losses_cuda/block.cuh"
#include "losses_cuda/feature_block.cuh"
#include "losses_cuda/label_sort.h"

namespace bottomup {

// Pixels whose products one block sums up in registers: the fewer, the smaller the rounding of the
// sum; the more, the less is written. 1024 x 128 numbers read for each 128 x 129 / 2 written.
inline constexpr int kScatterChunk = 1024;
// Channels of a panel of the matrix, and the side of the square of it that a thread holds: 8 x 8
// sums for 16 numbers read. Pixels on chip at a time: 17 KB a panel, two blocks fit 64 KB.
inline constexpr int kPanel = 128, kSide = 8, kStretch = 32;
inline constexpr int kPanelStride = kPanel + 4; // spreads 16-byte rows over all banks
inline constexpr int kScatterThreads = kPanel / kSide * (kPanel / kSide);

constexpr int64_t scatter_shared_bytes(int64_t panels) {
  return (4 + (panels > 1 ? 2 : 1) * kStretch * kPanelStride) * sizeof(float);
}

struct ScatterChunks {
  FeatureMaps features;
  Access access;
  LabelSort sort;
  int32_t chunks; // at most, of an image
  int32_t size;   // side of the matrices: the dimensions in whole squares
  float *sums;    // (B, chunks, size, size), written where the column's square is not before the
                  // row's
  int32_t *first; // (B, K + 2): chunks of label i of an image are first[i] .. first[i + 1] - 1
};

/// One block an image.
__global__ void number_chunks(ScatterChunks scatter) {
  const int groups = scatter.sort.groups;
  int32_t *first = scatter.first + static_cast<int64_t>(blockIdx.x) * (groups + 1);
  const int32_t *pixels = scatter.sort.first_of(blockIdx.x);
  if (threadIdx.x == 0) {
    int sum = 0;
    for (int i = 0; i < groups; ++i) {
      first[i] = sum;
      sum += (pixels[i + 1] - pixels[i] + kScatterChunk - 1) / kScatterChunk;
    }
    first[groups] = sum;
  }
}

/// Loads panel `panel` of pixels of one label, (kStretch, kPanelStride); missing ones are zero.
template <typename T>
__device__ __forceinline__ void load_panel(const ScatterChunks &scatter, const T *image,
                                           const int32_t *pixels, int count, int panel,
                                           float *values) {
  const FeatureMaps &features = scatter.features;
  constexpr int quads = kPanel / 4;
  for (int item = threadIdx.x; item < kStretch * quads; item += kScatterThreads) {
    // Neighbouring threads take what lies side by side in memory.
    const bool pixels_first = scatter.access != Access::along_channels;
    const int place = pixels_first ? item % kStretch : item / quads;
    const int channel = 4 * (pixels_first ? item / kStretch : item % quads);
    const int source = panel * kPanel + channel;
    float four[4] = {};
    if (place < count) {
      const T *pixel = image + pixels[place] * features.pixel_stride;
      if (!pixels_first && source < features.dimensions)
        load_four(pixel + source, four);
      else if (pixels_first)
#pragma unroll
        for (int c = 0; c < 4; ++c)
          if (source + c < features.dimensions)
            four[c] = to_float(pixel[(source + c) * features.channel_stride]);
    }
    store_four(values + place * kPanelStride + channel, four);
  }
}

/// Scales loaded pixels to unit length; false if one is not finite. A warp takes a pixel.
template <typename T>
__device__ __forceinline__ bool normalise_panels(const ScatterChunks &scatter, const T *image,
                                                 const int32_t *pixels, int count, int panels,
                                                 float *values) {
  const FeatureMaps &features = scatter.features;
  const int lane = threadIdx.x % kWarp;
  bool finite = true;
  for (int place = threadIdx.x / kWarp; place < count; place += kScatterThreads / kWarp) {
    float squares = 0;
    if (features.dimensions <= kPanel) {
      float four[4];
      load_four(values + place * kPanelStride + 4 * lane, four);
      squares = four[0] * four[0] + four[1] * four[1] + four[2] * four[2] + four[3] * four[3];
    } else {
      const T *pixel = image + pixels[place] * features.pixel_stride;
      for (int d = lane; d < features.dimensions; d += kWarp) {
        const float value = to_float(pixel[d * features.channel_stride]);
        squares += value * value;
      }
    }
    squares = warp_sum(squares);
    finite = finite && squares <= kLargest;
    const float inverse = 1 / fmaxf(sqrtf(squares), kMinNorm);
    for (int panel = 0; panel < panels; ++panel) {
      float *row = values + (panel * kStretch + place) * kPanelStride + 4 * lane;
      float four[4];
      load_four(row, four);
#pragma unroll
      for (int c = 0; c < 4; ++c)
        four[c] *= inverse;
      store_four(row, four);
    }
  }
  return finite;
}

/// Grid: chunks, pairs of panels, images.
template <typename T>
__global__ void __launch_bounds__(kScatterThreads)
    scatter_chunks(ScatterChunks scatter, int32_t *input_status) {
  constexpr int squares = kPanel / kSide;
  const int thread = threadIdx.x, groups = scatter.sort.groups;
  const int64_t image = blockIdx.z;
  const int chunk = blockIdx.x;
  int32_t *found = shared_memory<int32_t>(); // the chunk's label
  float *values = shared_memory<float>() + 4;

  const int32_t *first = scatter.first + image * (groups + 1);
  if (chunk >= first[groups])
    return;
  for (int i = thread; i < groups; i += kScatterThreads)
    if (first[i] <= chunk && chunk < first[i + 1])
      *found = i;
  __syncthreads();
  const int32_t *range = scatter.sort.first_of(image) + *found;
  const int begin = range[0] + (chunk - first[*found]) * kScatterChunk;
  const int end = begin + kScatterChunk < range[1] ? begin + kScatterChunk : range[1];

  // Pairs of panels (row, column) in order of columns, row <= column.
  int row_panel = blockIdx.y, column_panel = 0;
  while (row_panel > column_panel)
    row_panel -= ++column_panel;
  const bool diagonal = row_panel == column_panel;
  // Squares of the upper triangle likewise, where the panels are the same.
  int row = thread / squares, column = thread % squares;
  if (diagonal) {
    row = thread, column = 0;
    while (row > column)
      row -= ++column;
  }
  const int first_row = row_panel * kPanel + row * kSide;
  const int first_column = column_panel * kPanel + column * kSide;
  const bool used = column < squares && first_row < scatter.size && first_column < scatter.size;

  const T *pixels_of_image =
      static_cast<const T *>(scatter.features.data) + image * scatter.features.batch_stride;
  const int32_t *sorted = scatter.sort.pixels_of(image);
  float sums[kSide][kSide] = {};
  for (int start = begin; start < end; start += kStretch) {
    const int count = end - start < kStretch ? end - start : kStretch;
    __syncthreads();
    load_panel(scatter, pixels_of_image, sorted + start, count, row_panel, values);
    if (!diagonal)
      load_panel(scatter, pixels_of_image, sorted + start, count, column_panel,
                 values + kStretch * kPanelStride);
    __syncthreads();
    if (!normalise_panels(scatter, pixels_of_image, sorted + start, count, diagonal ? 1 : 2,
                          values))
      atomicMax(input_status, static_cast<int32_t>(Status::non_finite_features));
    __syncthreads();
    if (!used)
      continue;
    const float *left = values + row * kSide;
    const float *right = values + (diagonal ? 0 : kStretch * kPanelStride) + column * kSide;
    for (int p = 0; p < count; ++p) {
      float rows[2][4], columns[2][4];
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        load_four(left + p * kPanelStride + 4 * half, rows[half]);
        load_four(right + p * kPanelStride + 4 * half, columns[half]);
      }
#pragma unroll
      for (int i = 0; i < kSide; ++i)
#pragma unroll
        for (int j = 0; j < kSide; ++j)
          sums[i][j] += rows[i / 4][i % 4] * columns[j / 4][j % 4];
    }
  }
  if (!used)
    return;
  const int64_t size = scatter.size;
  float *target = scatter.sums + ((image * scatter.chunks + chunk) * size + first_row) * size;
#pragma unroll
  for (int i = 0; i < kSide; ++i)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float four[4] = {sums[i][4 * half], sums[i][4 * half + 1], sums[i][4 * half + 2],
                             sums[i][4 * half + 3]};
      store_four(target + i * size + first_column + 4 * half, four);
    }
}

} // namespace bottomup
