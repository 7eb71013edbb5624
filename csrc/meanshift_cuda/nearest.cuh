// The kernel behind nearest.h, in float32.
#pragma once

#include "common/status.h"
#include "meanshift_cuda/feature_chunk.cuh"
#include "meanshift_cuda/nearest_store.cuh"

namespace bottomup {

inline constexpr int kNearestModes = 32; // of a tile: with a tile of pixels 50 KiB
inline constexpr int kNearestSide = 16;  // threads along the pixels and along the modes

struct NearestShared {
  float pixels[kChunkPixels * kChunkStride];
  float modes[kNearestModes * kChunkStride];
  float2 scales[kChunkPixels];
  float best[kNearestSide][kChunkPixels];
  int nearest[kNearestSide][kChunkPixels];
};

template <typename T> class NearestTile {
public:
  __device__ NearestTile(const NearestTask &task, Layout layout, NearestShared &shared)
      : task_(task), source_{task.features, layout}, shared_(shared), image_(blockIdx.y),
        first_(int64_t{blockIdx.x} * kChunkPixels),
        padded_(static_cast<int>(round_up(max(task.features.dimensions, int64_t{1}), 16))),
        width_(min(padded_, kTileChannels)) {}

  __device__ void run() {
    if (task_.normalise)
      measure();
    else if (padded_ <= width_)
      load_pixels(0);
    const int count = min(max(task_.num_modes[image_], 0), task_.most_modes);
    for (int mode = 0; mode < count; mode += kNearestModes)
      compare(mode, min(count - mode, kNearestModes));
    store();
  }

private:
  /// The lengths of the pixels; those of one chunk are lines in shared memory then.
  __device__ void measure() {
    SquaredLength length;
    for (int channel = 0; channel < padded_; channel += width_) {
      __syncthreads();
      load_chunk<T>(source_, image_, first_, channel, width_, shared_.pixels);
      __syncthreads();
      length.add(shared_.pixels, width_);
    }
    float2 scale = length.scales();
    if (thread() % kThreadsOfPixel == 0) {
      if (!(scale.y < SquaredLength::kInfinity)) {
        atomicMax(task_.input_status, static_cast<int>(Status::non_finite_features));
        scale = make_float2(0, 0);
      }
      shared_.scales[thread() / kThreadsOfPixel] = scale;
    }
    __syncthreads();
    if (padded_ <= width_)
      normalise();
  }

  __device__ void normalise() {
    for (int i = thread(); i < kChunkPixels * width_; i += kThreads) {
      const int row = i / width_;
      const float2 scale = shared_.scales[row];
      float &value = shared_.pixels[row * kChunkStride + i % width_];
      value = value * scale.x * scale.y;
    }
  }

  __device__ void load_pixels(int channel) {
    load_chunk<T>(source_, image_, first_, channel, width_, shared_.pixels);
    if (task_.normalise) {
      __syncthreads();
      normalise();
    }
  }

  __device__ void load_modes(int mode, int count, int channel) {
    bool finite = true;
    for (int i = thread(); i < kNearestModes * width_; i += kThreads) {
      const int row = i / width_, c = i % width_;
      float value = 0;
      if (row < count && channel + c < task_.features.dimensions)
        value =
            task_.modes[(image_ * task_.mode_rows + mode + row) * task_.mode_stride + channel + c];
      finite &= fabsf(value) < SquaredLength::kInfinity;
      shared_.modes[row * kChunkStride + c] = value;
    }
    if (!finite)
      atomicMax(task_.input_status, static_cast<int>(Status::non_finite_modes));
  }

  __device__ void compare(int mode, int count) {
    float products[4][2] = {};
    for (int channel = 0; channel < padded_; channel += width_) {
      __syncthreads();
      if (padded_ > width_)
        load_pixels(channel);
      load_modes(mode, count, channel);
      __syncthreads();
      multiply(products);
    }
#pragma unroll
    for (int j = 0; j < 2; ++j)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float product = fabsf(products[i][j]);
        if (product > best_[i]) {
          best_[i] = product;
          nearest_[i] = mode + row_ + j * kNearestSide;
        }
      }
  }

  __device__ void multiply(float (&products)[4][2]) const {
    for (int c = 0; c < width_; c += 4) {
      float4 modes[2];
#pragma unroll
      for (int j = 0; j < 2; ++j)
        modes[j] = *reinterpret_cast<const float4 *>(shared_.modes +
                                                     (row_ + j * kNearestSide) * kChunkStride + c);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float4 pixel = *reinterpret_cast<const float4 *>(
            shared_.pixels + (column_ + i * kNearestSide) * kChunkStride + c);
#pragma unroll
        for (int j = 0; j < 2; ++j) {
          products[i][j] += modes[j].x * pixel.x;
          products[i][j] += modes[j].y * pixel.y;
          products[i][j] += modes[j].z * pixel.z;
          products[i][j] += modes[j].w * pixel.w;
        }
      }
    }
  }

  /// The best of all threads of a pixel.
  __device__ void store() {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      shared_.best[row_][column_ + i * kNearestSide] = best_[i];
      shared_.nearest[row_][column_ + i * kNearestSide] = nearest_[i];
    }
    __syncthreads();
    if (thread() >= kChunkPixels)
      return;
    float best = 0;
    int nearest = 0;
    for (int i = 0; i < kNearestSide; ++i) {
      const float product = shared_.best[i][thread()];
      const int mode = shared_.nearest[i][thread()];
      if (product > best || (product == best && product > 0 && mode < nearest)) {
        best = product;
        nearest = mode;
      }
    }
    store_nearest(task_, image_, first_ + thread(), best, nearest);
  }

  const NearestTask &task_;
  FeatureSource source_;
  NearestShared &shared_;
  int64_t image_, first_;
  int padded_, width_;
  const int row_ = thread() / kNearestSide, column_ = thread() % kNearestSide;
  float best_[4] = {};
  int nearest_[4] = {};
};

template <typename T>
__global__ void __launch_bounds__(kThreads, 2) nearest_kernel(NearestTask task, Layout layout) {
  if (task.wanted && task.wanted[blockIdx.y] == 0)
    return;
  if (blockIdx.x == 0 && thread() == 0 &&
      (task.num_modes[blockIdx.y] < 0 || task.num_modes[blockIdx.y] > task.most_modes))
    atomicMax(task.input_status, static_cast<int>(Status::num_modes_out_of_range));
  NearestTile<T>(task, layout, *shared_memory<NearestShared>()).run();
}

} // namespace bottomup
