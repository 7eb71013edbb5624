#include "contracts/target_lines.h"

#include "losses_cuda/principal_line.cuh"
#include "losses_cuda/scatter.cuh"

namespace bottomup {
namespace {

constexpr int kLineThreads = 256;

/// Sums the chunks of a label's matrix in their order, into the first of them if not into shared
/// memory, and takes its line.
/// Grid: labels, images.
__global__ void __launch_bounds__(kLineThreads)
    find_lines(ScatterChunks scatter, float *lines, bool space_in_shared, float *spaces,
               bool matrix_in_shared) {
  const int64_t image = blockIdx.y, label = blockIdx.x;
  const int dimensions = static_cast<int>(scatter.features.dimensions), size = scatter.size;
  const int32_t *first = scatter.first + image * (scatter.sort.groups + 1) + label;
  const int64_t row = image * scatter.sort.groups + label;
  float *line = lines + row * dimensions;
  const int64_t square = static_cast<int64_t>(size) * size;
  const float *sums = scatter.sums + (image * scatter.chunks + first[0]) * square;
  float *matrix = matrix_in_shared ? shared_memory<float>() + principal_line_bytes(size) / 4
                                   : scatter.sums + (image * scatter.chunks + first[0]) * square;
  const int chunks = first[1] - first[0];

  float trace = 0;
  for (int64_t item = threadIdx.x; chunks > 0 && item < square; item += kLineThreads) {
    const int64_t i = item / size, j = item % size;
    if (i > j)
      continue;
    double sum = 0;
    for (int chunk = 0; chunk < chunks; ++chunk)
      sum += sums[chunk * square + item];
    matrix[item] = matrix[j * size + i] = static_cast<float>(sum);
    trace += i == j ? static_cast<float>(sum) : 0.0f;
  }
  float *partial = shared_memory<float>();
  trace = block_sum(trace, partial);
  if (!(trace > 0 && trace <= kLargest)) {
    for (int d = threadIdx.x; d < dimensions; d += kLineThreads)
      line[d] = 0;
    return;
  }
  __syncthreads();
  void *space = space_in_shared ? static_cast<void *>(shared_memory<double>())
                                : spaces + row * (principal_line_bytes(size) / 4);
  principal_line(matrix, size, dimensions, line, space);
}

/// What a block has on every device without asking for more.
constexpr int64_t kSharedSpace = 48 * 1024;

struct Plan {
  ScatterChunks scatter;
  int64_t panels;
  int64_t space_bytes; // of one label's Krylov space
  bool space_in_shared;
  float *spaces;
};

Plan plan_of(const TargetLinesProblem &problem, Workspace &memory) {
  const FeatureMaps &maps = problem.features;
  const LabelSort sort(problem.labels, maps.batch, maps.pixels, problem.num_entities, memory);
  const int64_t labels = problem.num_entities + 1;
  const int64_t chunks = (maps.pixels + kScatterChunk - 1) / kScatterChunk + labels;
  const int64_t size = (maps.dimensions + kSide - 1) / kSide * kSide;
  const int64_t space = principal_line_bytes(size);
  const bool in_shared = space <= kSharedSpace;
  return {{maps, access_of(maps, 4), sort, static_cast<int32_t>(chunks), static_cast<int32_t>(size),
           memory.take<float>(maps.batch * chunks * size * size),
           memory.take<int32_t>(maps.batch * (labels + 1))},
          (size + kPanel - 1) / kPanel,
          space,
          in_shared,
          memory.take<float>(in_shared ? 0 : maps.batch * labels * (space / 4))};
}

} // namespace

int64_t target_lines_cuda_workspace(const TargetLinesProblem &problem) {
  Workspace memory(nullptr);
  plan_of(problem, memory);
  return memory.bytes();
}

CudaStatus target_lines_cuda(const TargetLinesProblem &problem, void *workspace,
                             int32_t *input_status, CudaStream stream) {
  const FeatureMaps &maps = problem.features;
  const int64_t labels = problem.num_entities + 1;
  Launcher launches(stream);
  if (maps.batch == 0 || maps.dimensions == 0)
    return launches.status();
  if (maps.pixels == 0) {
    launches.clear(problem.lines, maps.batch * labels * maps.dimensions);
    return launches.status();
  }
  Workspace memory(workspace);
  const Plan plan = plan_of(problem, memory);
  const ScatterChunks &scatter = plan.scatter;
  count_labels(scatter.sort, input_status, launches);
  sort_pixels(scatter.sort, launches);
  launches("number_chunks", number_chunks, grid_of(maps.batch), kWarp, 0, scatter);
  with_type(maps.type, [&](auto type) {
    launches("scatter_chunks", scatter_chunks<decltype(type)>,
             grid_of(scatter.chunks, plan.panels * (plan.panels + 1) / 2, maps.batch),
             kScatterThreads, scatter_shared_bytes(plan.panels), scatter, input_status);
  });
  const int64_t in_shared = plan.space_in_shared ? plan.space_bytes : kWarp * sizeof(float);
  const int64_t matrix = static_cast<int64_t>(scatter.size) * scatter.size * sizeof(float);
  const bool fits = plan.space_in_shared &&
                    in_shared + matrix <= device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin);
  launches("find_lines", find_lines, grid_of(labels, maps.batch), kLineThreads,
           in_shared + (fits ? matrix : 0), scatter, problem.lines, plan.space_in_shared,
           plan.spaces, fits);
  return launches.status();
}

} // namespace bottomup
