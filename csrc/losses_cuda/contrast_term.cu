#include "losses_cuda/contrast_term.h"

#include <algorithm>

#include "losses_cuda/block.cuh"
#include "losses_cuda/feature_block.cuh"

namespace bottomup {
namespace {

constexpr int kThreads = 256;
// Samples of a few images at a time lie side by side in the workspace, so that features far apart
// in memory are fetched once.
constexpr int64_t kMostSampleBytes = int64_t{1} << 26;
// Queries of a block and candidates they are compared with at a time: 2 x 4 products a thread, then
// 8 queries x 4 channels of the gradient.
constexpr int kQueries = 64, kCandidates = 32, kPanel = 128;
constexpr int kRow = kQueries + 4; // of the weights: spreads their columns over all banks
constexpr float kSharpness = static_cast<float>(1 / kContrastTemperature);

/// What the kernels know, by value.
struct Contrast {
  FeatureMaps features;
  void *gradient; // null for the terms alone
  FeatureMaps gradient_layout;
  ImageLines images;
  ContrastPlan plan;
  int64_t first_image; // of the group
  float weight;        // of the gradient, over the size of the batch

  __device__ int64_t rows() const { return plan.candidates + plan.samples.queries; }
};

/// Row of lines of one entity of the group.
__device__ float *lines_of(const Contrast &contrast, int64_t entity) {
  return contrast.plan.lines + entity * contrast.rows() * contrast.plan.dimensions;
}

/// Grid: rows of samples by warps, entities, images.
template <typename T>
__global__ void __launch_bounds__(kThreads) gather_samples(Contrast contrast) {
  const FeatureMaps &features = contrast.features;
  const ContrastSamplesProblem &samples = contrast.plan.samples;
  const int lane = threadIdx.x % kWarp, dimensions = static_cast<int>(features.dimensions);
  const int64_t row = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) / kWarp;
  if (row >= contrast.rows())
    return;
  const int64_t image = contrast.first_image + blockIdx.z;
  const int64_t entity = blockIdx.z * samples.num_entities + blockIdx.y;
  const int64_t all = image * samples.num_entities + blockIdx.y;
  const int64_t query = row - contrast.plan.candidates;
  float *target = lines_of(contrast, entity) + row * contrast.plan.dimensions;
  if (row == 0) {
    const float *line =
        samples.lines + (image * (samples.num_entities + 1) + blockIdx.y + 1) * dimensions;
    for (int d = lane; d < contrast.plan.dimensions; d += kWarp)
      target[d] = d < dimensions ? line[d] : 0.0f;
    return;
  }
  const int64_t pixel = query < 0 ? samples.key_pixels[all * samples.negatives + row - 1]
                                  : samples.query_pixels[all * samples.queries + query];
  if (pixel < 0)
    return;
  const T *source = static_cast<const T *>(features.data) + image * features.batch_stride +
                    pixel * features.pixel_stride;
  float squares = 0;
  for (int d = lane; d < dimensions; d += kWarp) {
    const float value = to_float(source[d * features.channel_stride]);
    squares += value * value;
  }
  const float length = sqrtf(warp_sum(squares)), inverse = 1 / fmaxf(length, kMinNorm);
  for (int d = lane; d < contrast.plan.dimensions; d += kWarp)
    target[d] = d < dimensions ? to_float(source[d * features.channel_stride]) * inverse : 0.0f;
  if (query >= 0 && lane == 0)
    contrast.plan.lengths[entity * samples.queries + query] = length;
}

/// What the queries of a block have with all candidates, in shared memory.
struct Totals {
  float weights[kCandidates * kRow]; // of candidates (rows) in the gradient of queries
  float exponentials[kQueries], along[kQueries], own[kQueries];
  double partial[kThreads / kWarp];
};

/// e^similarity of 2 queries of this thread with 4 candidates; adds up those of its queries.
__device__ __forceinline__ void compare_queries(const Contrast &contrast, const float *lines,
                                                const float *queries, int last_query, int first,
                                                Totals &totals, float (&sums)[2],
                                                float (&along)[2]) {
  const int stride = contrast.plan.dimensions, last = contrast.plan.candidates - 1;
  const int pair = static_cast<int>(threadIdx.x) / 8 * 2, column = threadIdx.x % 8;
  const float *left[2], *right[4];
#pragma unroll
  for (int q = 0; q < 2; ++q)
    left[q] = queries + (pair + q < last_query ? pair + q : last_query) * stride;
#pragma unroll
  for (int c = 0; c < 4; ++c) {
    const int candidate = first + column + 8 * c;
    right[c] = lines + (candidate < last ? candidate : last) * stride;
  }
  float cosines[2][4] = {};
#pragma unroll 1
  for (int d = 0; d < stride; d += 4) {
    float rows[2][4], columns[4][4];
#pragma unroll
    for (int q = 0; q < 2; ++q)
      load_four(left[q] + d, rows[q]);
#pragma unroll
    for (int c = 0; c < 4; ++c)
      load_four(right[c] + d, columns[c]);
#pragma unroll
    for (int q = 0; q < 2; ++q)
#pragma unroll
      for (int c = 0; c < 4; ++c)
#pragma unroll
        for (int i = 0; i < 4; ++i)
          cosines[q][c] += rows[q][i] * columns[c][i];
  }
#pragma unroll
  for (int c = 0; c < 4; ++c)
#pragma unroll
    for (int q = 0; q < 2; ++q) {
      const float cosine = cosines[q][c], size = fabsf(cosine);
      // Similarities lie in [0, 2]: no exponential of them overflows.
      const float exponential =
          first + column + 8 * c <= last ? expf(fminf(size, 1.0f) * kSharpness) : 0.0f;
      sums[q] += exponential;
      along[q] += exponential * size;
      totals.weights[(column + 8 * c) * kRow + pair + q] = cosine > 0   ? exponential
                                                           : cosine < 0 ? -exponential
                                                                        : 0.0f;
      if (first + column + 8 * c == 0)
        totals.own[pair + q] = cosine;
    }
}

/// Queries come before the first -1.
__device__ int count_queries(const int64_t *pixels, int most) {
  int low = 0, high = most;
  while (low < high) {
    const int middle = (low + high) / 2;
    if (pixels[middle] < 0)
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

/// Grid: tiles of queries times panels of channels, entities, images. Two blocks a multiprocessor
/// have the registers that they need.
template <typename T>
__global__ void __launch_bounds__(kThreads, 2) contrast_of_queries(Contrast contrast) {
  Totals &totals = *shared_memory<Totals>();
  const ContrastSamplesProblem &samples = contrast.plan.samples;
  const int thread = threadIdx.x, lane = thread % kWarp, stride = contrast.plan.dimensions;
  const int64_t image = contrast.first_image + blockIdx.z;
  const int64_t entity = blockIdx.z * samples.num_entities + blockIdx.y;
  const int64_t all = image * samples.num_entities + blockIdx.y;
  const int tile = static_cast<int>(blockIdx.x) % contrast.plan.tiles;
  const int panel = static_cast<int>(blockIdx.x) / contrast.plan.tiles;
  const int64_t *pixels = samples.query_pixels + all * samples.queries;
  const int count = count_queries(pixels, static_cast<int>(samples.queries));
  const int first_query = tile * kQueries;
  const int here = count - first_query < kQueries ? count - first_query : kQueries;
  if (here <= 0)
    return;

  const float *lines = lines_of(contrast, entity);
  const float *queries = lines + (contrast.plan.candidates + first_query) * stride;
  const int channel = panel * kPanel + 4 * lane, octet = thread / kWarp * 8;
  float sums[2] = {}, along[2] = {}, gradient[8][4] = {};
  for (int first = 0; first < contrast.plan.candidates; first += kCandidates) {
    __syncthreads();
    compare_queries(contrast, lines, queries, here - 1, first, totals, sums, along);
    __syncthreads();
    if (contrast.gradient == nullptr || channel >= stride)
      continue;
    const int rest = contrast.plan.candidates - first;
    for (int c = 0; c < kCandidates && c < rest; ++c) {
      float channels[4], weights[2][4];
      load_four(lines + (first + c) * stride + channel, channels);
      load_four(totals.weights + c * kRow + octet, weights[0]);
      load_four(totals.weights + c * kRow + octet + 4, weights[1]);
#pragma unroll
      for (int q = 0; q < 8; ++q)
#pragma unroll
        for (int i = 0; i < 4; ++i)
          gradient[q][i] += weights[q / 4][q % 4] * channels[i];
    }
  }
#pragma unroll
  for (int q = 0; q < 2; ++q) {
    for (int step = 1; step < 8; step *= 2) {
      sums[q] += __shfl_xor_sync(kAllLanes, sums[q], step);
      along[q] += __shfl_xor_sync(kAllLanes, along[q], step);
    }
    if (thread % 8 == 0) {
      totals.exponentials[thread / 8 * 2 + q] = sums[q];
      totals.along[thread / 8 * 2 + q] = along[q];
    }
  }
  __syncthreads();

  const float share = 1.0f / (static_cast<float>(contrast.images.summary[image].entities) *
                              static_cast<float>(count));
  if (panel == 0) {
    double term = 0;
    if (thread < here)
      term = logf(totals.exponentials[thread]) - fabsf(totals.own[thread]) * kSharpness;
    term = block_sum(term, totals.partial);
    if (thread == 0)
      contrast.plan.sums[all * contrast.plan.tiles + tile] = term * share;
  }
  if (contrast.gradient == nullptr)
    return;
  const float factor = kSharpness * contrast.weight * share;
  const FeatureMaps &layout = contrast.gradient_layout;
  T *target = static_cast<T *>(contrast.gradient) + image * layout.batch_stride;
#pragma unroll
  for (int q = 0; q < 8; ++q) {
    const int query = octet + q;
    if (query >= here)
      break;
    const float length = contrast.plan.lengths[entity * samples.queries + first_query + query];
    if (length == 0)
      continue;
    const float inverse = 1 / fmaxf(length, kMinNorm), own = totals.own[query];
    const float part = factor / totals.exponentials[query];
    // The normalisation takes out what lies along the feature.
    const float radial =
        length >= kMinNorm ? part * totals.along[query] - factor * fabsf(own) : 0.0f;
    const float pull = own > 0 ? factor : own < 0 ? -factor : 0.0f;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (channel + i >= layout.dimensions)
        break;
      const float slope = part * gradient[q][i] - pull * lines[channel + i] -
                          radial * queries[query * stride + channel + i];
      T &value = target[(channel + i) * layout.channel_stride +
                        pixels[first_query + query] * layout.pixel_stride];
      value = from_float<T>(to_float(value) + inverse * slope);
    }
  }
}

ContrastSamplesProblem samples_of(const LossesProblem &problem, const uint8_t *easy,
                                  Workspace &memory) {
  const int64_t entities = problem.features.batch * problem.num_entities;
  return {problem.features.batch,
          problem.features.pixels,
          problem.features.dimensions,
          problem.num_entities,
          problem.labels,
          problem.lines,
          easy,
          problem.seeds,
          problem.queries,
          problem.negatives,
          memory.take<int64_t>(entities * problem.queries),
          memory.take<int64_t>(entities * problem.negatives)};
}

} // namespace

ContrastPlan::ContrastPlan(const LossesProblem &problem, Workspace &memory)
    : easy(memory.take<uint8_t>(problem.features.batch * problem.features.pixels)),
      samples(samples_of(problem, easy, memory)), draws(samples, memory),
      candidates(static_cast<int32_t>(problem.negatives + 1)),
      dimensions(static_cast<int32_t>((problem.features.dimensions + 3) / 4 * 4)),
      tiles(static_cast<int32_t>((problem.queries + kQueries - 1) / kQueries)) {
  const int64_t entities = problem.num_entities;
  const int64_t image = entities * (candidates + problem.queries) * dimensions;
  group = std::clamp(kMostSampleBytes / std::max<int64_t>(image * 4, 1), int64_t{1},
                     problem.features.batch);
  lines = memory.take<float>(group * image);
  lengths = memory.take<float>(group * entities * problem.queries);
  sums = memory.take<double>(problem.features.batch * entities * tiles);
}

void add_contrast(const LossesProblem &problem, const LabelSort &sort, const ImageLines &images,
                  const ContrastPlan &plan, Launcher &launches) {
  const int64_t batch = problem.features.batch, entities = problem.num_entities;
  const int64_t panels = (plan.dimensions + kPanel - 1) / kPanel;
  const int64_t rows = plan.candidates + problem.queries;
  draw_samples(plan.samples, sort, plan.draws, launches);
  launches.clear(plan.sums, batch * entities * plan.tiles);
  for (int64_t first = 0; first < batch; first += plan.group) {
    const Contrast contrast{problem.features,
                            problem.gradient,
                            problem.gradient_layout,
                            images,
                            plan,
                            first,
                            problem.weights[LossTerm::contrast] / static_cast<float>(batch)};
    const int64_t count = std::min(plan.group, batch - first);
    with_type(problem.features.type, [&](auto type) {
      using T = decltype(type);
      launches("gather_samples", gather_samples<T>,
               grid_of((rows * kWarp + kThreads - 1) / kThreads, entities, count), kThreads, 0,
               contrast);
      launches("contrast_of_queries", contrast_of_queries<T>,
               grid_of(plan.tiles * panels, entities, count), kThreads, sizeof(Totals), contrast);
    });
  }
}

} // namespace bottomup
