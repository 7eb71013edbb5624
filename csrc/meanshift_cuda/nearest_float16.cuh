// The nearest mode of packed float16 lines, on tensor cores: a warp holds its pixels as fragments,
// and the modes pass through shared memory.
#pragma once

#include "meanshift_cuda/fragments.cuh"
#include "meanshift_cuda/nearest_store.cuh"

namespace bottomup {

template <int dimensions> struct NearestFloat16 {
  static constexpr int row_tiles = 2;
  static constexpr int warp_pixels = 16 * row_tiles; // bits of a word
  static constexpr int pixels = kThreads / kWarp * warp_pixels;
  static constexpr int modes = 64; // of a tile
  static constexpr int stride = dimensions + kFragmentPadding;
  // Fragments of 256 channels leave room for one block, shorter ones for two.
  static constexpr int blocks = dimensions <= 128 ? 2 : 1;

  // First 16 pixels of each warp at a time; once those are in registers, a tile of modes.
  static constexpr int rows = pixels / row_tiles;
  static_assert(modes <= rows);
};

template <int dimensions> class NearestFloat16Tile {
public:
  __device__ NearestFloat16Tile(const NearestTask &task, Float16 *shared)
      : task_(task), shared_(shared), image_(blockIdx.y),
        first_(int64_t{blockIdx.x} * Sizes::pixels) {}

  __device__ void run() {
    load_pixels();
    const int count = task_.num_modes[image_];
    for (int mode = 0; mode < count; mode += Sizes::modes) {
      __syncthreads();
      load_modes(mode, min(count - mode, Sizes::modes));
      __syncthreads();
      for (int part = 0; part < min(count - mode, Sizes::modes); part += 16)
        compare(mode + part, shared_ + part * Sizes::stride);
    }
    store();
  }

private:
  using Sizes = NearestFloat16<dimensions>;
  static constexpr int numbers = 8, pieces = dimensions / numbers;

  __device__ void load_pixels() {
    const auto *packed =
        static_cast<const Float16 *>(task_.features.data) + image_ * task_.features.batch_stride;
    Float16 *own = shared_ + warp() * 16 * Sizes::stride;
#pragma unroll
    for (int i = 0; i < Sizes::row_tiles; ++i) {
      const int64_t first = first_ + warp() * Sizes::warp_pixels + i * 16;
#pragma unroll 8
      for (int piece = lane(); piece < 16 * pieces; piece += kWarp) {
        const int row = piece / pieces, c = piece % pieces * numbers;
        const bool inside = first + row < task_.features.pixels;
        copy_async(own + row * Sizes::stride + c,
                   packed + (inside ? first + row : 0) * dimensions + c, inside ? 16 : 0);
      }
      commit_copies();
      wait_for_copies<0>();
      __syncwarp();
#pragma unroll
      for (int k = 0; k < dimensions / 16; ++k)
        load_left<Sizes::stride>(pixels_[i][k], own + k * 16);
      __syncwarp();
    }
  }

  /// Rounds modes to float16; those that fill up 16 are zero, which is never nearer.
  __device__ void load_modes(int mode, int count) {
    const float *modes = task_.modes + (image_ * task_.mode_rows + mode) * dimensions;
    for (int i = thread(); i < static_cast<int>(round_up(count, 16)) * pieces; i += kThreads) {
      const int row = i / pieces, c = i % pieces * numbers;
      uint4 packed = make_uint4(0, 0, 0, 0);
      if (row < count) {
        const auto *values = reinterpret_cast<const float4 *>(modes + row * dimensions + c);
        packed = make_uint4(
            pack_float16(values[0].x, values[0].y), pack_float16(values[0].z, values[0].w),
            pack_float16(values[1].x, values[1].y), pack_float16(values[1].z, values[1].w));
      }
      *reinterpret_cast<uint4 *>(shared_ + row * Sizes::stride + c) = packed;
    }
  }

  /// Compares the pixels with 16 modes.
  __device__ __forceinline__ void compare(int mode, const Float16 *rows) {
    float cosines[Sizes::row_tiles][2][4] = {};
#pragma unroll
    for (int k = 0; k < dimensions / 16; ++k) {
      uint32_t right[4];
      load_right<Sizes::stride>(right, rows + k * 16);
#pragma unroll
      for (int i = 0; i < Sizes::row_tiles; ++i)
        multiply_both(cosines[i], pixels_[i][k], right);
    }
#pragma unroll
    for (int j = 0; j < 4; ++j)
#pragma unroll
      for (int i = 0; i < Sizes::row_tiles; ++i)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const float cosine = fabsf(cosines[i][j / 2][half * 2 + j % 2]);
          if (cosine > best_[i][half]) {
            best_[i][half] = cosine;
            nearest_[i][half] = mode + j / 2 * 8 + lane() % 4 * 2 + j % 2;
          }
        }
  }

  /// Brings the best of a pixel to the lane of its number.
  __device__ void store() {
    float best = 0;
    int nearest = 0;
#pragma unroll
    for (int i = 0; i < Sizes::row_tiles; ++i)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float value = best_[i][half];
        int mode = nearest_[i][half];
#pragma unroll
        for (int distance = 1; distance < 4; distance *= 2) {
          const float other = __shfl_xor_sync(kAllLanes, value, distance);
          const int other_mode = __shfl_xor_sync(kAllLanes, mode, distance);
          const bool better = other > value || (other == value && other > 0 && other_mode < mode);
          value = better ? other : value;
          mode = better ? other_mode : mode;
        }
        value = __shfl_sync(kAllLanes, value, lane() % 8 * 4);
        mode = __shfl_sync(kAllLanes, mode, lane() % 8 * 4);
        if (lane() / 8 == i * 2 + half) {
          best = value;
          nearest = mode;
        }
      }
    store_nearest(task_, image_, first_ + warp() * Sizes::warp_pixels + lane(), best, nearest);
  }

  const NearestTask &task_;
  Float16 *shared_; // (rows, stride)
  int64_t image_, first_;
  uint32_t pixels_[Sizes::row_tiles][dimensions / 16][4];
  float best_[Sizes::row_tiles][2] = {};
  int nearest_[Sizes::row_tiles][2] = {};
};

template <int dimensions>
__global__ void __launch_bounds__(kThreads, NearestFloat16<dimensions>::blocks)
    nearest_float16_kernel(NearestTask task) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
  if (!task.wanted || task.wanted[blockIdx.y] != 0)
    NearestFloat16Tile<dimensions>(task, shared_memory<Float16>()).run();
#endif
}

} // namespace bottomup
