#include "losses_cuda/image_lines.h"

#include "losses_cuda/pair_counts.h"
#include "losses_cuda/segment_space.cuh"

namespace bottomup {
namespace {

constexpr int kThreads = kDescribing;
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
  result.attraction = static_cast<float>(share(1, entities));
  result.repulsion =
      static_cast<float>(share(1, repulsion_divisor(entities, lines, setup.normaliser)));
  for (int scale = 0; scale < kScales; ++scale) {
    const int pairs = setup.images.pairs[image * kScales + scale];
    result.pairs[scale] = static_cast<float>(share(pairs > 1 ? 1.0 / pairs : 1.0, entities));
  }
  result.attraction_gradient = factor(attraction) * result.attraction;
  result.repulsion_gradient = factor(repulsion) * result.repulsion;
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
  for (int label = threadIdx.x; label < images.labels; label += kThreads)
    if (position[label] >= 0)
      images.weight_of[image * images.labels + position[label]] =
          1 / static_cast<float>(first[label + 1] - first[label]);
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
    if (images.tile_lines.rounded)
      images.tile_lines.rounded[image * items + place * images.dimensions + d] =
          from_float<Float16>(value);
    if (place < entities)
      columns[d * images.stride + place] = value;
  }
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
  double *cross = setup.space_in_shared
                      ? after
                      : setup.images.spaces + image * (space_bytes(most) / sizeof(double));
  const bool usable =
      invert_lines(setup.images, image, entities, setup.dimensions, found + 2, gram, cross);
  if (threadIdx.x == 0) {
    setup.images.summary[image] = summarise(setup, image, entities, lines);
    setup.images.summary[image].usable = usable;
  }
}

bool fits_shared(int64_t most_segments) { return space_bytes(most_segments) <= kSharedSpace; }

} // namespace

ImageLines::ImageLines(const LossesProblem &problem, bool wants_inverse, Workspace &memory)
    : inverse_wanted(wants_inverse) {
  const int64_t batch = problem.features.batch, entities = problem.num_entities;
  const int64_t most =
      entities < problem.features.dimensions ? entities : problem.features.dimensions;
  const int64_t columns = entities <= 32 ? 32 : (entities + 127) / 128 * 128;
  labels = static_cast<int32_t>(entities + 1);
  dimensions = static_cast<int32_t>(padded_dimensions(problem));
  most_segments = static_cast<int32_t>(most);
  stride = static_cast<int32_t>(columns);
  summary = memory.take<ImageSummary>(batch);
  pairs = memory.take<int32_t>(batch * kScales);
  position = memory.take<int32_t>(batch * labels);
  weight_of = memory.take<float>(batch * labels);
  lines = memory.take<float>(batch * labels * dimensions);
  to_cosines = memory.take<float>(batch * dimensions * columns);
  to_segments = memory.take<float>(batch * most * columns);
  const bool rounds = inverse_wanted && problem.fast && is_half(problem.features.type);
  const int64_t line_numbers = batch * labels * dimensions;
  const int64_t inverse_numbers = inverse_wanted ? batch * most * dimensions : 0;
  if (rounds) {
    tile_lines = {nullptr, memory.take<Float16>(line_numbers)};
    inverse = {nullptr, memory.take<Float16>(inverse_numbers)};
  } else {
    tile_lines = {lines, nullptr};
    inverse = {memory.take<float>(inverse_numbers), nullptr};
  }
  gram = memory.take<double>(batch * most * most);
  spaces = memory.take<double>(fits_shared(most) ? 0 : batch * space_bytes(most) / 8);
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
  count_pairs(sort, static_cast<int>(problem.height), static_cast<int>(problem.width), images.pairs,
              launches);
  const int64_t most = images.most_segments;
  const int64_t gram = most * most * static_cast<int64_t>(sizeof(double));
  int64_t bytes = 16 + (setup.space_in_shared ? space_bytes(most) : 0);
  setup.gram_in_shared = bytes + gram <= device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin);
  bytes += setup.gram_in_shared ? gram : 0;
  launches("describe_image", describe_image, grid_of(sort.batch), kThreads, bytes, setup);
}

} // namespace bottomup
