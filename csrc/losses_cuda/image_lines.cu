#include "losses_cuda/image_lines.h"

#include "losses_cuda/block.cuh"
#include "losses_cuda/principal_line.cuh"

namespace bottomup {
namespace {

constexpr double kSimilar = 0.98;
constexpr double kConditionLimit = 1e4;
constexpr int kThreads = 256;
constexpr int64_t kSharedSpace = 48 * 1024; // what a block has without asking for more

/// What the kernels know of the problem, by value.
struct Setup {
  LabelSort sort;
  ImageLines images;
  const float *lines; // (B, K+1, D)
  int32_t dimensions, batch;
  RepulsionNormaliser normaliser;
  float weights[loss_terms];
  bool space_in_shared, gram_in_shared;
};

// Pixels of a band in which a block counts pairs: all scales begin anew in it, and reach as far as
// the next one's first row and column of them.
constexpr int kBand = 8, kReach = 8, kColumns = kThreads + kReach;

__global__ void __launch_bounds__(kThreads)
    count_pairs(LabelSort sort, int height, int width, int32_t *pairs) {
  int *partial = shared_memory<int>();
  auto *valid = reinterpret_cast<uint8_t *>(partial + kWarp); // (kBand + 1, kColumns)
  const int64_t image = blockIdx.z;
  const int32_t *labels = sort.labels + image * sort.pixels;
  const int first_y = static_cast<int>(blockIdx.y) * kBand;
  const int first_x = static_cast<int>(blockIdx.x) * kThreads;
  for (int item = threadIdx.x; item < (kBand + 1) * kColumns; item += kThreads) {
    const int y = first_y + item / kColumns, x = first_x + item % kColumns;
    const bool inside = y < height && x < width;
    const int label = inside ? labels[static_cast<int64_t>(y) * width + x] : -1;
    valid[item] = label >= 0 && label < sort.groups;
  }
  __syncthreads();
  const int x = threadIdx.x;
  int counts[kScales] = {};
#pragma unroll
  for (int scale = 0; scale < kScales; ++scale)
    for (int y = 0; x % (1 << scale) == 0 && y < kBand; y += 1 << scale) {
      const uint8_t *pixel = valid + y * kColumns + x;
      if (*pixel != 0)
        counts[scale] += pixel[1 << scale] + pixel[kColumns << scale];
    }
#pragma unroll
  for (int scale = 0; scale < kScales; ++scale) {
    const int sum = block_sum(counts[scale], partial);
    if (threadIdx.x == 0)
      atomicAdd(pairs + image * kScales + scale, sum);
  }
}

__device__ double share(double whole, double count) { return count > 0 ? whole / count : 0; }

/// The divisor Z of the repulsion (eq. 6); 0 if there is no pair.
__device__ double repulsion_divisor(int entities, int lines, RepulsionNormaliser normaliser) {
  const double pairs = static_cast<double>(lines) * (lines - 1);
  if (lines < 2 || entities == 0)
    return 0;
  if (normaliser == RepulsionNormaliser::entities)
    return entities;
  return normaliser == RepulsionNormaliser::pairs ? pairs : sqrt(pairs);
}

__device__ ImageSummary summarise(const Setup &setup, int64_t image, int entities, int lines) {
  const auto factor = [&](LossTerm term) {
    return setup.weights[term] / static_cast<float>(setup.batch);
  };
  const double valid = setup.sort.first_of(image)[setup.sort.groups];
  ImageSummary result{};
  result.entities = entities;
  result.lines = lines;
  result.norm = static_cast<float>(share(1, valid));
  result.mse = static_cast<float>(share(share(1, valid), entities));
  for (int scale = 0; scale < kScales; ++scale) {
    const int pairs = setup.images.pairs[image * kScales + scale];
    result.pairs[scale] = static_cast<float>(share(pairs > 1 ? 1.0 / pairs : 1.0, entities));
  }
  result.attraction_gradient = factor(attraction);
  result.repulsion_gradient = factor(repulsion);
  result.mse_gradient = 2 * factor(segment_mse) * result.mse;
  result.pair_gradient = factor(segment_gradient);
  result.norm_gradient = 2 * factor(norm) * result.norm;
  return result;
}

/// Positions of the labels present, and what their pixels weigh. found: shared, 2 numbers.
__device__ void place_labels(const Setup &setup, int64_t image, int32_t *found) {
  const ImageLines &images = setup.images;
  const int32_t *first = setup.sort.first_of(image);
  int32_t *position = images.position + image * images.labels;
  if (threadIdx.x == 0) {
    int entities = 0;
    for (int label = 1; label < images.labels; ++label)
      position[label] = first[label + 1] > first[label] ? entities++ : -1;
    position[0] = first[1] > 0 ? entities : -1;
    found[0] = entities;
    found[1] = entities + (first[1] > 0);
  }
  __syncthreads();
  const int entities = found[0], lines = found[1];
  const double divisor = repulsion_divisor(entities, lines, setup.normaliser);
  for (int label = threadIdx.x; label < images.labels; label += kThreads) {
    if (position[label] < 0)
      continue;
    const int64_t slot = image * images.labels + position[label];
    const double pixels = first[label + 1] - first[label];
    images.attraction_of[slot] = label == 0 ? 0 : static_cast<float>(1 / (entities * pixels));
    images.repulsion_of[slot] = static_cast<float>(share(1 / pixels, divisor));
  }
}

__device__ void place_lines(const Setup &setup, int64_t image, int entities) {
  const ImageLines &images = setup.images;
  const int32_t *position = images.position + image * images.labels;
  const float *source = setup.lines + image * images.labels * setup.dimensions;
  float *lines = images.lines + image * images.labels * images.dimensions;
  float *columns = images.to_cosines + image * images.dimensions * images.stride;
  const int64_t padded = static_cast<int64_t>(images.dimensions) * images.stride;
  for (int64_t item = threadIdx.x; item < padded; item += kThreads)
    if (item % images.stride >= entities)
      columns[item] = 0;
  const int64_t items = static_cast<int64_t>(images.labels) * images.dimensions;
  for (int64_t item = threadIdx.x; item < items; item += kThreads) {
    const int64_t label = item / images.dimensions, d = item % images.dimensions;
    const int place = position[label];
    if (place < 0)
      continue;
    const float value = d < setup.dimensions ? source[label * setup.dimensions + d] : 0.0f;
    lines[static_cast<int64_t>(place) * images.dimensions + d] = value;
    if (place < entities)
      columns[d * images.stride + place] = value;
  }
}

/// gram = M^T M; false if two lines are too similar. A warp takes a product.
__device__ bool multiply_lines(const ImageLines &images, int64_t image, int size, double *gram,
                               int32_t *similar) {
  const float *lines = images.lines + image * images.labels * images.dimensions;
  const int lane = threadIdx.x % kWarp;
  if (threadIdx.x == 0)
    *similar = 0;
  __syncthreads();
  for (int item = threadIdx.x / kWarp; item < size * size; item += kThreads / kWarp) {
    const int i = item / size, j = item % size;
    if (j > i)
      continue;
    double product = 0;
    for (int d = lane; d < images.dimensions; d += kWarp)
      product += static_cast<double>(lines[static_cast<int64_t>(i) * images.dimensions + d]) *
                 lines[static_cast<int64_t>(j) * images.dimensions + d];
    product = warp_sum(product);
    if (lane == 0) {
      gram[static_cast<int64_t>(i) * size + j] = gram[static_cast<int64_t>(j) * size + i] = product;
      if (i != j && fabs(product) > kSimilar)
        atomicOr(similar, 1);
    }
  }
  __syncthreads();
  return *similar == 0;
}

/// Replaces a symmetric positive definite matrix by its inverse, by Gauss and Jordan's elimination,
/// which needs no pivoting then; false if it is not.
__device__ bool invert(double *matrix, int size, double *row, double *column) {
  for (int k = 0; k < size; ++k) {
    __syncthreads();
    const double pivot = matrix[static_cast<int64_t>(k) * size + k];
    if (!(pivot > 0))
      return false;
    for (int i = threadIdx.x; i < size; i += kThreads) {
      row[i] = matrix[static_cast<int64_t>(k) * size + i] / pivot;
      column[i] = matrix[static_cast<int64_t>(i) * size + k];
    }
    __syncthreads();
    for (int item = threadIdx.x; item < size * size; item += kThreads) {
      const int i = item / size, j = item % size;
      if (i != k && j != k)
        matrix[item] -= column[i] * row[j];
      else if (i == k && j == k)
        matrix[item] = 1 / pivot;
      else
        matrix[item] = i == k ? row[j] : -column[i] / pivot;
    }
  }
  __syncthreads();
  return true;
}

__device__ float largest_eigenvalue(const double *matrix, int size, float *rounded, void *space) {
  for (int item = threadIdx.x; item < size * size; item += kThreads)
    rounded[item] = static_cast<float>(matrix[item]);
  __syncthreads();
  return principal_line(rounded, size, size, nullptr, space);
}

/// (M^T M)^-1 of the entities' lines; false where the segment space is degenerate (eq. 7).
__device__ bool invert_lines(const Setup &setup, int64_t image, int size, int32_t *similar,
                             double *gram, void *space) {
  const ImageLines &images = setup.images;
  if (size == 0 || size > setup.dimensions)
    return false;
  const int64_t most = images.most_segments;
  double *cross = images.cross + image * 2 * most;
  float *rounded = images.rounded + image * most * most;
  if (!multiply_lines(images, image, size, gram, similar))
    return false;
  for (int i = 0; i < size; ++i)
    if (!(gram[static_cast<int64_t>(i) * size + i] > 0))
      return false;
  const float largest = largest_eigenvalue(gram, size, rounded, space);
  if (!invert(gram, size, cross, cross + most))
    return false;
  const float inverse_of_least = largest_eigenvalue(gram, size, rounded, space);
  if (!(static_cast<double>(largest) * inverse_of_least < kConditionLimit))
    return false;
  float *result = images.to_segments + image * most * images.stride;
  for (int item = threadIdx.x; item < size * images.stride; item += kThreads) {
    const int row = item / images.stride, column = item % images.stride;
    result[item] =
        column < size ? static_cast<float>(gram[static_cast<int64_t>(row) * size + column]) : 0.0f;
  }
  return true;
}

/// One block an image.
__global__ void __launch_bounds__(kThreads) describe_image(Setup setup) {
  const int64_t image = blockIdx.x;
  int32_t *found = shared_memory<int32_t>(); // entities, lines, whether two are similar
  place_labels(setup, image, found);
  const int entities = found[0], lines = found[1];
  place_lines(setup, image, entities);
  __syncthreads();
  const int64_t most = setup.images.most_segments;
  auto *after = shared_memory<double>() + 2;
  double *gram = setup.gram_in_shared ? after : setup.images.gram + image * most * most;
  if (setup.gram_in_shared)
    after += most * most;
  void *space = setup.space_in_shared
                    ? static_cast<void *>(after)
                    : setup.images.spaces + image * (principal_line_bytes(most) / 4);
  const bool usable = invert_lines(setup, image, entities, found + 2, gram, space);
  if (threadIdx.x == 0) {
    setup.images.summary[image] = summarise(setup, image, entities, lines);
    setup.images.summary[image].usable = usable;
  }
}

bool fits_shared(int64_t most_segments) {
  return principal_line_bytes(most_segments) <= kSharedSpace;
}

} // namespace

ImageLines::ImageLines(const LossesProblem &problem, Workspace &memory) {
  const int64_t batch = problem.features.batch, entities = problem.num_entities;
  const int64_t most =
      entities < problem.features.dimensions ? entities : problem.features.dimensions;
  const int64_t columns = entities <= 32 ? 32 : (entities + 127) / 128 * 128;
  labels = static_cast<int32_t>(entities + 1);
  dimensions = static_cast<int32_t>((problem.features.dimensions + 7) / 8 * 8);
  most_segments = static_cast<int32_t>(most);
  stride = static_cast<int32_t>(columns);
  summary = memory.take<ImageSummary>(batch);
  pairs = memory.take<int32_t>(batch * kScales);
  position = memory.take<int32_t>(batch * labels);
  attraction_of = memory.take<float>(batch * labels);
  repulsion_of = memory.take<float>(batch * labels);
  lines = memory.take<float>(batch * labels * dimensions);
  to_cosines = memory.take<float>(batch * dimensions * columns);
  to_segments = memory.take<float>(batch * most * columns);
  gram = memory.take<double>(batch * most * most);
  rounded = memory.take<float>(batch * most * most);
  cross = memory.take<double>(batch * 2 * most);
  spaces = memory.take<float>(fits_shared(most) ? 0 : batch * (principal_line_bytes(most) / 4));
}

void describe_images(const LossesProblem &problem, const LabelSort &sort, const ImageLines &images,
                     Launcher &launches) {
  Setup setup{sort,
              images,
              problem.lines,
              static_cast<int32_t>(problem.features.dimensions),
              static_cast<int32_t>(problem.features.batch),
              problem.normaliser,
              {},
              fits_shared(images.most_segments),
              false};
  for (int term = 0; term < loss_terms; ++term)
    setup.weights[term] = problem.weights[term];
  launches.clear(images.pairs, sort.batch * kScales);
  launches("count_pairs", count_pairs,
           grid_of((problem.width + kThreads - 1) / kThreads, (problem.height + kBand - 1) / kBand,
                   sort.batch),
           kThreads, kWarp * sizeof(int) + (kBand + 1) * kColumns, sort,
           static_cast<int>(problem.height), static_cast<int>(problem.width), images.pairs);
  const int64_t most = images.most_segments;
  const int64_t gram = most * most * static_cast<int64_t>(sizeof(double));
  int64_t bytes = 16 + (setup.space_in_shared ? principal_line_bytes(most) : 0);
  setup.gram_in_shared = bytes + gram <= device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin);
  bytes += setup.gram_in_shared ? gram : 0;
  launches("describe_image", describe_image, grid_of(sort.batch), kThreads, bytes, setup);
}

} // namespace bottomup
