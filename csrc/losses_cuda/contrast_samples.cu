#include "losses_cuda/contrast_samples.h"

#include "common/philox.h"
#include "losses_cuda/block.cuh"

namespace bottomup {
namespace {

constexpr int kThreads = 256;
constexpr int kDigitBits = 8, kDigits = 1 << kDigitBits; // a digit for each thread
constexpr int kPixelBits = 31;

enum Stream : uint32_t { query_stream, key_stream };

/// One entity of one image; a block works on it.
struct Entity {
  __device__ Entity(const ContrastSamplesProblem &all, const LabelSort &sort)
      : problem(all), image(blockIdx.y), label(static_cast<int>(blockIdx.x) + 1),
        first(sort.first_of(image)), pixels(sort.pixels_of(image)),
        row(image * problem.num_entities + label - 1) {}

  __device__ int count(int other) const { return first[other + 1] - first[other]; }

  __device__ Words draw(int64_t number, Stream stream) const {
    return philox(static_cast<uint64_t>(problem.seeds[2 * image]),
                  {static_cast<uint32_t>(problem.seeds[2 * image + 1]),
                   static_cast<uint32_t>(label), static_cast<uint32_t>(number), stream});
  }

  /// Whether it has pixels, and another entity to compare them with. partial: shared.
  __device__ bool takes_part(int *partial) const {
    int present = 0;
    for (int64_t other = 1 + threadIdx.x; other <= problem.num_entities; other += kThreads)
      present += count(static_cast<int>(other)) > 0;
    return block_sum(present, partial) >= 2 && count(label) > 0;
  }

  const ContrastSamplesProblem &problem;
  const int64_t image;
  const int label;
  const int32_t *first, *pixels;
  const int64_t row;
};

/// What pixel `index` of the entity is drawn by: hard ones first, then by their random word; no two
/// are equal.
__device__ uint64_t rank_of(const Entity &entity, int index) {
  const int32_t pixel = entity.pixels[entity.first[entity.label] + index];
  const uint64_t easy = entity.problem.easy[entity.image * entity.problem.pixels + pixel] != 0;
  const uint64_t word = entity.draw(pixel, query_stream)[0];
  return easy << 63 | word << kPixelBits | static_cast<uint64_t>(pixel);
}

/// A bound that exactly `wanted` ranks are not above, digit by digit from the highest. shared:
/// kDigits counts and two numbers.
__device__ uint64_t bound_of(const Entity &entity, int wanted, int *shared) {
  int *counts = shared, *found = shared + kDigits;
  const int total = entity.count(entity.label), digit = threadIdx.x;
  uint64_t prefix = 0;
  for (int shift = 64 - kDigitBits; shift >= 0; shift -= kDigitBits) {
    counts[digit] = 0;
    __syncthreads();
    const uint64_t above = shift + kDigitBits < 64 ? ~uint64_t{0} << (shift + kDigitBits) : 0;
    for (int index = threadIdx.x; index < total; index += kThreads) {
      const uint64_t rank = rank_of(entity, index);
      if ((rank & above) == prefix)
        atomicAdd(counts + (rank >> shift) % kDigits, 1);
    }
    __syncthreads();
    int before = 0;
    for (int lower = 0; lower < digit; ++lower)
      before += counts[lower];
    if (before < wanted && wanted <= before + counts[digit]) {
      found[0] = digit;
      found[1] = before;
    }
    __syncthreads();
    const int here = counts[found[0]];
    prefix |= static_cast<uint64_t>(found[0]) << shift;
    wanted -= found[1];
    __syncthreads();
    if (here == wanted)
      return prefix | ((uint64_t{1} << shift) - 1);
  }
  return prefix;
}

__global__ void __launch_bounds__(kThreads)
    draw_queries(ContrastSamplesProblem problem, LabelSort sort, ContrastDraws draws) {
  int *shared = shared_memory<int>();
  const Entity entity(problem, sort);
  int64_t *result = problem.query_pixels + entity.row * problem.queries;
  const int total = entity.takes_part(shared) ? entity.count(entity.label) : 0;
  const int wanted = total < problem.queries ? total : static_cast<int>(problem.queries);
  for (int64_t i = wanted + threadIdx.x; i < problem.queries; i += kThreads)
    result[i] = -1;
  if (wanted == 0)
    return;
  __syncthreads();
  const uint64_t bound = wanted < total ? bound_of(entity, wanted, shared) : ~uint64_t{0};
  int *taken = shared;
  if (threadIdx.x == 0)
    *taken = 0;
  __syncthreads();
  uint64_t *ranks = draws.queries + entity.row * problem.queries;
  for (int index = threadIdx.x; index < total; index += kThreads) {
    const uint64_t rank = rank_of(entity, index);
    if (rank <= bound)
      ranks[atomicAdd(taken, 1)] = rank;
  }
  __syncthreads();
  for (int i = threadIdx.x; i < wanted; i += kThreads) {
    const uint64_t rank = ranks[i];
    int place = 0;
    for (int other = 0; other < wanted; ++other)
      place += ranks[other] < rank;
    result[place] = static_cast<int64_t>(rank % (uint64_t{1} << kPixelBits));
  }
}

/// e^(|m_i . m_j| / temperature), with the product rounded as plain float32 code does: a contracted
/// one would draw other keys than other backends.
__device__ double attraction_of(const Entity &entity, int other) {
  const ContrastSamplesProblem &problem = entity.problem;
  const float *lines =
      problem.lines + entity.image * (problem.num_entities + 1) * problem.dimensions;
  const float *left = lines + entity.label * problem.dimensions;
  const float *right = lines + other * problem.dimensions;
  float product = 0;
  for (int64_t d = 0; d < problem.dimensions; ++d)
    product = __fadd_rn(product, __fmul_rn(left[d], right[d]));
  return exp(fabsf(product) / kContrastTemperature);
}

__global__ void __launch_bounds__(kThreads)
    draw_keys(ContrastSamplesProblem problem, LabelSort sort, ContrastDraws draws) {
  const Entity entity(problem, sort);
  const int entities = static_cast<int>(problem.num_entities);
  int64_t *result = problem.key_pixels + entity.row * problem.negatives;
  if (!entity.takes_part(shared_memory<int>())) {
    for (int64_t i = threadIdx.x; i < problem.negatives; i += kThreads)
      result[i] = -1;
    return;
  }
  double *sums = draws.weights + entity.row * entities;
  for (int other = threadIdx.x; other < entities; other += kThreads) {
    const bool possible = other + 1 != entity.label && entity.count(other + 1) > 0;
    sums[other] = possible ? attraction_of(entity, other + 1) : 0;
  }
  __syncthreads();
  if (threadIdx.x == 0)
    for (int other = 1; other < entities; ++other)
      sums[other] += sums[other - 1];
  __syncthreads();
  const double total = sums[entities - 1];
  // A sum that rounds below 1 must not pick past the last possible entity.
  int last = entities;
  while (last == entity.label || entity.count(last) == 0)
    --last;
  for (int64_t i = threadIdx.x; i < problem.negatives; i += kThreads) {
    const Words words = entity.draw(i, key_stream);
    const double where = uniform(words[0]);
    int low = 0, high = entities;
    while (low < high) {
      const int middle = (low + high) / 2;
      if (where < sums[middle] / total)
        high = middle;
      else
        low = middle + 1;
    }
    const int picked = low + 1 < last ? low + 1 : last;
    const auto place = static_cast<int64_t>(uniform(words[1]) * entity.count(picked));
    result[i] = entity.pixels[entity.first[picked] + place];
  }
}

} // namespace

ContrastDraws::ContrastDraws(const ContrastSamplesProblem &problem, Workspace &memory)
    : queries(memory.take<uint64_t>(problem.batch * problem.num_entities * problem.queries)),
      weights(memory.take<double>(problem.batch * problem.num_entities * problem.num_entities)) {}

void draw_samples(const ContrastSamplesProblem &problem, const LabelSort &sort,
                  const ContrastDraws &draws, Launcher &launches) {
  const dim3 grid = grid_of(problem.num_entities, problem.batch);
  launches("draw_queries", draw_queries, grid, kThreads, (kDigits + 2) * sizeof(int), problem, sort,
           draws);
  launches("draw_keys", draw_keys, grid, kThreads, kWarp * sizeof(int), problem, sort, draws);
}

int64_t contrast_samples_cuda_workspace(const ContrastSamplesProblem &problem) {
  Workspace memory(nullptr);
  LabelSort(problem.labels, problem.batch, problem.pixels, problem.num_entities, memory);
  ContrastDraws(problem, memory);
  return memory.bytes();
}

CudaStatus contrast_samples_cuda(const ContrastSamplesProblem &problem, void *workspace,
                                 int32_t *input_status, CudaStream stream) {
  Workspace memory(workspace);
  Launcher launches(stream);
  const LabelSort sort(problem.labels, problem.batch, problem.pixels, problem.num_entities, memory);
  const ContrastDraws draws(problem, memory);
  count_labels(sort, input_status, launches);
  sort_pixels(sort, launches);
  draw_samples(problem, sort, draws, launches);
  return launches.status();
}

} // namespace bottomup
