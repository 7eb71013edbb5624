// The same window pass without tensor cores: float32 products, for the highest precision, compute
// capability 7.5, and lines of any length.
#pragma once

#include "meanshift_cuda/work_list.cuh"

namespace bottomup {

template <int width> struct Float32Pass {
  // 60 KiB at 128 channels, of the 64 KiB of compute capability 7.5.
  static constexpr int lines = 64;
  static constexpr int pixels = 32;
  static constexpr int resident = 2; // 3 on some, but 1 on compute capability 8.6
  // A thread computes 4 lines x 2 pixels of the table, and 4 lines x `channels` of the sums.
  static constexpr int side = 16;
  static constexpr int channels = width / side;
  static constexpr int stride = width + 4, weights_stride = lines + 4;

  struct Shared {
    float lines_tile[lines * stride];
    float pixels_tile[pixels * stride];
    float weights[pixels * weights_stride];
    int list[lines];
    int scan[kScanShared];
  };

  BOTTOMUP_HOST_DEVICE static constexpr PassTiling tiling() {
    return {lines, lines, pixels, resident};
  }
};

template <Pass pass, int width> class Float32Windows {
public:
  __device__ Float32Windows(const WindowPass<float> &task,
                            typename Float32Pass<width>::Shared &shared, int64_t image, int count)
      : task_(task), shared_(shared), count_(count),
        lines_(task.lines.values + (image * task.lines.rows + task.first_line) * task.padded),
        pixels_(task.pixels + image * task.pixel_rows * task.padded) {
    if constexpr (pass == Pass::best)
      densities_ = task.densities + image * task.pixel_rows;
    if (task.padded == width)
      load_lines(0);
  }

  /// Looks at a tile of pixels. A block sums `width` channels from `own` on.
  __device__ void look(int first, int own) {
    float cosines[4][2] = {};
    for (int channel = 0; channel < task_.padded; channel += width) {
      __syncthreads();
      load_pixels(first, channel);
      if (task_.padded > width)
        load_lines(channel);
      __syncthreads();
      multiply(cosines);
    }
    if constexpr (pass == Pass::step) {
      weigh(cosines);
      __syncthreads();
      if (task_.padded > width) {
        load_pixels(first, own);
        __syncthreads();
      }
      accumulate();
    } else {
      measure(cosines, first);
    }
  }

  __device__ void store_sums(float *target, int own) const {
    for (int i = 0; i < 4; ++i)
      for (int c = 0; c < Sizes::channels; ++c)
        target[int64_t{4 * row_ + i} * task_.padded + own + channel_of(c)] = sums_[i][c];
  }

  /// Adds what was measured to that of the other blocks.
  __device__ void store_measures(int64_t image) const {
    for (int i = 0; i < 4; ++i) {
      uint32_t measure = measures_[i];
#pragma unroll
      for (int distance = 1; distance < Sizes::side; distance *= 2) {
        const uint32_t other = __shfl_xor_sync(kAllLanes, measure, distance);
        measure = pass == Pass::count ? measure + other : max(measure, other);
      }
      if (column_ != 0 || 4 * row_ + i >= count_ || measure == 0)
        continue;
      const int64_t line = image * task_.lines.rows + task_.first_line + shared_.list[4 * row_ + i];
      if constexpr (pass == Pass::count)
        atomicAdd(task_.lines.support + line, static_cast<int>(measure));
      else
        atomicMax(task_.best + line, measure);
    }
  }

private:
  using Sizes = Float32Pass<width>;

  __device__ void load_lines(int channel) {
    for (int i = thread(); i < Sizes::lines * width / 4; i += kThreads) {
      const int row = i / (width / 4), c = i % (width / 4) * 4;
      float4 value = make_float4(0, 0, 0, 0);
      if (row < count_)
        value = *reinterpret_cast<const float4 *>(
            lines_ + int64_t{shared_.list[row]} * task_.padded + channel + c);
      *reinterpret_cast<float4 *>(shared_.lines_tile + row * Sizes::stride + c) = value;
    }
  }

  __device__ void load_pixels(int first, int channel) {
    for (int i = thread(); i < Sizes::pixels * width / 4; i += kThreads) {
      const int row = i / (width / 4), c = i % (width / 4) * 4;
      *reinterpret_cast<float4 *>(shared_.pixels_tile + row * Sizes::stride + c) =
          *reinterpret_cast<const float4 *>(pixels_ + int64_t{first + row} * task_.padded +
                                            channel + c);
    }
  }

  __device__ void multiply(float (&cosines)[4][2]) const {
    for (int c = 0; c < width; c += 4) {
      float4 pixels[2];
#pragma unroll
      for (int j = 0; j < 2; ++j)
        pixels[j] = *reinterpret_cast<const float4 *>(
            shared_.pixels_tile + (column_ + j * Sizes::side) * Sizes::stride + c);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float4 line = *reinterpret_cast<const float4 *>(shared_.lines_tile +
                                                              (4 * row_ + i) * Sizes::stride + c);
#pragma unroll
        for (int j = 0; j < 2; ++j) {
          cosines[i][j] += line.x * pixels[j].x;
          cosines[i][j] += line.y * pixels[j].y;
          cosines[i][j] += line.z * pixels[j].z;
          cosines[i][j] += line.w * pixels[j].w;
        }
      }
    }
  }

  __device__ void weigh(const float (&cosines)[4][2]) {
    for (int j = 0; j < 2; ++j) {
      float weights[4];
      for (int i = 0; i < 4; ++i)
        weights[i] = fabsf(cosines[i][j]) >= task_.window ? cosines[i][j] : 0.0f;
      *reinterpret_cast<float4 *>(shared_.weights +
                                  (column_ + j * Sizes::side) * Sizes::weights_stride + 4 * row_) =
          make_float4(weights[0], weights[1], weights[2], weights[3]);
    }
  }

  /// Neighbouring threads have neighbouring channels, four at a time.
  __device__ int channel_of(int c) const {
    constexpr int together = Sizes::channels < 4 ? Sizes::channels : 4;
    return c / together * (Sizes::side * together) + column_ * together + c % together;
  }

  __device__ void accumulate() {
#pragma unroll 4
    for (int pixel = 0; pixel < Sizes::pixels; ++pixel) {
      const float4 weights = *reinterpret_cast<const float4 *>(
          shared_.weights + pixel * Sizes::weights_stride + 4 * row_);
      float values[Sizes::channels];
      if constexpr (Sizes::channels >= 4) {
#pragma unroll
        for (int c = 0; c < Sizes::channels; c += 4) {
          const float4 value = *reinterpret_cast<const float4 *>(
              shared_.pixels_tile + pixel * Sizes::stride + channel_of(c));
          values[c] = value.x;
          values[c + 1] = value.y;
          values[c + 2] = value.z;
          values[c + 3] = value.w;
        }
      } else {
#pragma unroll
        for (int c = 0; c < Sizes::channels; ++c)
          values[c] = shared_.pixels_tile[pixel * Sizes::stride + channel_of(c)];
      }
#pragma unroll
      for (int c = 0; c < Sizes::channels; ++c) {
        sums_[0][c] += weights.x * values[c];
        sums_[1][c] += weights.y * values[c];
        sums_[2][c] += weights.z * values[c];
        sums_[3][c] += weights.w * values[c];
      }
    }
  }

  __device__ void measure(const float (&cosines)[4][2], int first) {
    for (int j = 0; j < 2; ++j) {
      const int pixel = first + column_ + j * Sizes::side;
      const uint32_t key = pass == Pass::best ? key_of(densities_[pixel], pixel) : 1;
      for (int i = 0; i < 4; ++i) {
        const uint32_t seen = fabsf(cosines[i][j]) >= task_.window ? key : 0;
        measures_[i] = pass == Pass::count ? measures_[i] + seen : max(measures_[i], seen);
      }
    }
  }

  const WindowPass<float> &task_;
  typename Sizes::Shared &shared_;
  int count_;
  const float *lines_, *pixels_;
  const int32_t *densities_ = nullptr;
  const int row_ = thread() / Sizes::side, column_ = thread() % Sizes::side;
  float sums_[4][Sizes::channels] = {};
  uint32_t measures_[4] = {};
};

/// Of lines longer than `width`, each block in z sums some channels, and computes the table anew.
template <Pass pass, int width>
__global__ void __launch_bounds__(kThreads, Float32Pass<width>::resident)
    window_float32_kernel(WindowPass<float> task) {
  using Sizes = Float32Pass<width>;
  auto &shared = *shared_memory<typename Sizes::Shared>();
  const int64_t image = blockIdx.y;
  const int own = static_cast<int>(blockIdx.z) * width;
  const BlockWork work = find_work(task, Sizes::tiling(), image, shared.scan, shared.list);
  if (work.lines == 0)
    return;
  Float32Windows<pass, width> windows(task, shared, image, work.lines);
  for (int tile = work.share.first; tile < work.share.last; ++tile)
    windows.look(tile * Sizes::pixels, own);
  if constexpr (pass == Pass::step)
    windows.store_sums(task.sums + (image * gridDim.x + blockIdx.x) * Sizes::lines * task.padded,
                       own);
  else
    windows.store_measures(image);
}

} // namespace bottomup
