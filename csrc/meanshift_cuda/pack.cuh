// The kernel behind pack.h.
#pragma once

#include "meanshift_cuda/feature_chunk.cuh"
#include "meanshift_cuda/pack.h"

namespace bottomup {

template <typename Packed> struct PackTask {
  FeatureSource features;
  const bool *mask;
  PackedLines<Packed> lines;
  int32_t non_finite;
  int32_t *input_status;
};

struct PackShared {
  float tile[kChunkPixels * kChunkStride];
  float2 scales[kChunkPixels]; // zero for a zero line
  int is_line[kChunkPixels];
};

/// Writes numbers of a row of the tile as 16 bytes.
__device__ inline void store_line(const float *values, float2 scale, float *target) {
  const float4 value = *reinterpret_cast<const float4 *>(values);
  *reinterpret_cast<float4 *>(target) =
      make_float4(value.x * scale.x * scale.y, value.y * scale.x * scale.y,
                  value.z * scale.x * scale.y, value.w * scale.x * scale.y);
}

__device__ inline void store_line(const float *values, float2 scale, Float16 *target) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
  float4 halves[2];
  store_line(values, scale, &halves[0].x);
  store_line(values + 4, scale, &halves[1].x);
  *reinterpret_cast<uint4 *>(target) =
      make_uint4(pack_float16(halves[0].x, halves[0].y), pack_float16(halves[0].z, halves[0].w),
                 pack_float16(halves[1].x, halves[1].y), pack_float16(halves[1].z, halves[1].w));
#endif
}

/// A block packs kChunkPixels pixels. Lines longer than a chunk are read twice, the second time
/// from a cache.
template <typename T, typename Packed>
__global__ void __launch_bounds__(kThreads, 2) pack_kernel(PackTask<Packed> task) {
  PackShared &shared = *shared_memory<PackShared>();
  const int64_t image = blockIdx.y, first = int64_t{blockIdx.x} * kChunkPixels;
  const int padded = static_cast<int>(task.lines.padded);
  const int width = min(padded, kTileChannels);
  SquaredLength length;
  for (int channel = 0; channel < padded; channel += width) {
    if (channel > 0)
      __syncthreads();
    load_chunk<T>(task.features, image, first, channel, width, shared.tile);
    __syncthreads();
    length.add(shared.tile, width);
  }

  float2 scale = length.scales();
  const int pixel = thread() / kThreadsOfPixel;
  const int64_t pixels = task.features.maps.pixels;
  const bool finite = scale.y < SquaredLength::kInfinity;
  if (!finite && thread() % kThreadsOfPixel == 0)
    atomicMax(task.input_status, task.non_finite);
  const bool out =
      task.mask && first + pixel < pixels && !task.mask[image * pixels + first + pixel];
  if (!finite || out)
    scale = make_float2(0.0f, 0.0f);
  const bool is_line = length.is_line() && scale.y > 0;
  if (thread() % kThreadsOfPixel == 0) {
    shared.scales[pixel] = scale;
    shared.is_line[pixel] = is_line;
  }
  __syncthreads();
  if (task.lines.has_line && thread() < kChunkPixels) {
    const uint32_t word = __ballot_sync(kAllLanes, shared.is_line[thread()]);
    if (lane() == 0)
      task.lines.has_line[(image * task.lines.rows + first) / kWarp + warp()] = word;
  }

  constexpr int numbers = 16 / sizeof(Packed);
  for (int channel = 0; channel < padded; channel += width) {
    if (padded > width) {
      load_chunk<T>(task.features, image, first, channel, width, shared.tile);
      __syncthreads();
    }
    for (int i = thread(); i < kChunkPixels * width / numbers; i += kThreads) {
      const int c = i % (width / numbers) * numbers, row = i / (width / numbers);
      const float2 row_scale = shared.scales[row];
      Packed *target =
          task.lines.values + (image * task.lines.rows + first + row) * padded + channel + c;
      if (row_scale.y > 0)
        store_line(shared.tile + row * kChunkStride + c, row_scale, target);
      else
        *reinterpret_cast<uint4 *>(target) = make_uint4(0, 0, 0, 0); // NaN stays NaN times zero
    }
    __syncthreads();
  }
}

} // namespace bottomup
