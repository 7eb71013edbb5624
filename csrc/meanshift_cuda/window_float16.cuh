// A window pass on tensor cores, built like FlashAttention-2 (Dao, 2023): a warp holds its lines
// and their sums as fragments, pixels stream through shared memory and serve both products.
#pragma once

#include "meanshift_cuda/fragments.cuh"
#include "meanshift_cuda/work_list.cuh"

namespace bottomup {

template <int dimensions> struct Float16Pass {
  // 32 lines a warp halve the reads of shared memory for each product; with 256 channels their sums
  // would not fit the registers.
  static constexpr int row_tiles = dimensions <= 128 ? 2 : 1;
  static constexpr int warp_lines = 16 * row_tiles;
  // So 256 lines read all pixels once.
  static constexpr int lines = kThreads / kWarp * warp_lines;
  // 8 warps at 255 registers fill a multiprocessor. Short lines need half of them.
  static constexpr int resident = dimensions <= 32 ? 2 : 1;
  // Two tiles of pixels fit the 99 KiB of compute capability 8.6.
  static constexpr int pixels = dimensions <= 128 ? 128 : 64;
  static constexpr int stride = dimensions + kFragmentPadding;

  struct Shared {
    Float16 tiles[2][pixels * stride];
    int list[lines];
    int scan[kScanShared];
  };

  BOTTOMUP_HOST_DEVICE static constexpr PassTiling tiling() {
    return {lines, warp_lines, pixels, resident};
  }
};

/// Starts copying a tile of packed pixels.
template <int dimensions>
__device__ __forceinline__ void start_tile(const Float16 *pixels, Float16 *tile) {
  using Sizes = Float16Pass<dimensions>;
  constexpr int numbers = 8, pieces = dimensions / numbers;
#pragma unroll
  for (int i = 0; i < Sizes::pixels * pieces / kThreads; ++i) {
    const int piece = thread() + i * kThreads;
    copy_async(tile + piece / pieces * Sizes::stride + piece % pieces * numbers,
               pixels + piece * numbers);
  }
}

/// A warp's lines as the left factor of m16n8k16, row tile by row tile; missing ones are zero.
template <int dimensions> struct LineFragments {
  uint32_t values[Float16Pass<dimensions>::row_tiles][dimensions / 16][4];

  __device__ LineFragments(const float *lines, const int *list, int count) {
#pragma unroll
    for (int i = 0; i < Float16Pass<dimensions>::row_tiles; ++i)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int row = i * 16 + half * 8 + lane() / 4;
        const float *line = lines + int64_t{row < count ? list[row] : 0} * dimensions;
#pragma unroll
        for (int k = 0; k < dimensions / 8; ++k) {
          const float2 value = *reinterpret_cast<const float2 *>(line + k * 8 + lane() % 4 * 2);
          values[i][k / 2][half + k % 2 * 2] =
              row < count ? pack_float16(value.x, value.y) : uint32_t{0};
        }
      }
  }
};

template <Pass pass, int dimensions> class Float16Windows {
public:
  __device__ Float16Windows(const WindowPass<Float16> &task, int64_t image, const int *list,
                            int count)
      : lines_(task.lines.values + (image * task.lines.rows + task.first_line) * dimensions, list,
               count),
        window_(task.window) {
    if constexpr (pass == Pass::best)
      densities_ = task.densities + image * task.pixel_rows;
  }

  /// Looks at 16 pixels; `rows` are theirs in shared memory, `first` their number in the image.
  __device__ __forceinline__ void look(const Float16 *rows, int first) {
    float cosines[Sizes::row_tiles][2][4] = {};
#pragma unroll
    for (int k = 0; k < dimensions / 16; ++k) {
      uint32_t right[4];
      load_right<Sizes::stride>(right, rows + k * 16);
#pragma unroll
      for (int i = 0; i < Sizes::row_tiles; ++i)
        multiply_both(cosines[i], lines_.values[i][k], right);
    }

    if constexpr (pass != Pass::step) {
      measure(cosines, first);
    } else {
      uint32_t weights[Sizes::row_tiles][4];
      uint32_t any = 0;
#pragma unroll
      for (int i = 0; i < Sizes::row_tiles; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j)
          weights[i][j] = pack_float16(inside(cosines[i][j / 2][j % 2 * 2]),
                                       inside(cosines[i][j / 2][j % 2 * 2 + 1]));
      // Neighbouring pixels lie in few windows, so that most warps have nothing to add.
#pragma unroll
      for (int i = 0; i < Sizes::row_tiles; ++i)
        any |= weights[i][0] | weights[i][1] | weights[i][2] | weights[i][3];
      if (!__any_sync(kAllLanes, any != 0))
        return;
#pragma unroll
      for (int k = 0; k < dimensions / 16; ++k) {
        uint32_t right[4];
        load_right_rows<Sizes::stride>(right, rows + k * 16);
#pragma unroll
        for (int i = 0; i < Sizes::row_tiles; ++i)
          multiply_both(sums_[i] + 2 * k, weights[i], right);
      }
    }
  }

  /// Writes the sums of this warp's lines, one row each.
  __device__ void store_sums(float *target) const {
#pragma unroll
    for (int i = 0; i < Sizes::row_tiles; ++i)
#pragma unroll
      for (int k = 0; k < dimensions / 8; ++k)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int row = i * 16 + half * 8 + lane() / 4;
          *reinterpret_cast<float2 *>(target + row * dimensions + k * 8 + lane() % 4 * 2) =
              make_float2(sums_[i][k][2 * half], sums_[i][k][2 * half + 1]);
        }
  }

  /// Adds what was measured to that of the other blocks.
  __device__ void store_measures(const WindowPass<Float16> &task, int64_t image, const int *list,
                                 int count) const {
#pragma unroll
    for (int i = 0; i < Sizes::row_tiles; ++i)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        uint32_t measure = measures_[i][half];
#pragma unroll
        for (int distance = 1; distance < 4; distance *= 2) {
          const uint32_t other = __shfl_xor_sync(kAllLanes, measure, distance);
          measure = pass == Pass::count ? measure + other : max(measure, other);
        }
        const int row = i * 16 + half * 8 + lane() / 4;
        if (lane() % 4 != 0 || row >= count || measure == 0)
          continue;
        const int64_t line = image * task.lines.rows + task.first_line + list[row];
        if constexpr (pass == Pass::count)
          atomicAdd(task.lines.support + line, static_cast<int>(measure));
        else
          atomicMax(task.best + line, measure);
      }
  }

private:
  using Sizes = Float16Pass<dimensions>;

  __device__ __forceinline__ float inside(float cosine) const {
    return fabsf(cosine) >= window_ ? cosine : 0.0f;
  }

  __device__ __forceinline__ void measure(const float (&cosines)[Sizes::row_tiles][2][4],
                                          int first) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int pixel = first + j / 2 * 8 + lane() % 4 * 2 + j % 2;
      const uint32_t key = pass == Pass::best ? key_of(densities_[pixel], pixel) : 1;
#pragma unroll
      for (int i = 0; i < Sizes::row_tiles; ++i)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const uint32_t seen = fabsf(cosines[i][j / 2][half * 2 + j % 2]) >= window_ ? key : 0;
          uint32_t &result = measures_[i][half];
          result = pass == Pass::count ? result + seen : max(result, seen);
        }
    }
  }

  LineFragments<dimensions> lines_;
  float window_;
  const int32_t *densities_ = nullptr;
  float sums_[Sizes::row_tiles][dimensions / 8][4] = {};
  uint32_t measures_[Sizes::row_tiles][2] = {};
};

template <Pass pass, int dimensions>
__global__ void __launch_bounds__(kThreads, Float16Pass<dimensions>::resident)
    window_float16_kernel(WindowPass<Float16> task) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
  using Sizes = Float16Pass<dimensions>;
  auto &shared = *shared_memory<typename Sizes::Shared>();
  const int64_t image = blockIdx.y;
  const BlockWork work = find_work(task, Sizes::tiling(), image, shared.scan, shared.list);
  if (work.lines == 0)
    return;
  const int groups = Sizes::tiling().groups(work.lines);
  const int first_row = warp() / groups * Sizes::warp_lines, first_step = warp() % groups;
  const int count = min(Sizes::warp_lines, work.lines - first_row);
  const int *list = shared.list + first_row;
  Float16Windows<pass, dimensions> windows(task, image, list, count);

  constexpr int tile_numbers = Sizes::pixels * dimensions;
  const Float16 *pixels = task.pixels + image * task.pixel_rows * dimensions;
  const Share &share = work.share;
  start_tile<dimensions>(pixels + int64_t{share.first} * tile_numbers, shared.tiles[0]);
  commit_copies();
  for (int tile = share.first; tile < share.last; ++tile) {
    Float16 *current = shared.tiles[(tile - share.first) % 2];
    if (tile + 1 < share.last)
      start_tile<dimensions>(pixels + int64_t{tile + 1} * tile_numbers,
                             shared.tiles[(tile - share.first + 1) % 2]);
    commit_copies();
    wait_for_copies<1>();
    __syncthreads();
    if (count > 0)
      for (int step = first_step; step < Sizes::pixels / 16; step += groups)
        windows.look(current + step * 16 * Sizes::stride, tile * Sizes::pixels + step * 16);
    __syncthreads();
  }
  if (count <= 0)
    return;
  if constexpr (pass == Pass::step)
    windows.store_sums(
        task.sums + ((image * gridDim.x + blockIdx.x) * Sizes::lines + warp() * Sizes::warp_lines) *
                        dimensions);
  else
    windows.store_measures(task, image, list, count);
#endif
}

} // namespace bottomup
