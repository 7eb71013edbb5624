#include "contracts/losses.h"

#include <optional>

#include "losses_cuda/block.cuh"
#include "losses_cuda/contrast_term.h"
#include "losses_cuda/fused_pass.h"
#include "losses_cuda/label_sort.h"

namespace bottomup {
namespace {

constexpr int kThreads = 256;

/// Partial sums of the terms, on the device, and what becomes of them.
struct Sums {
  const ImageSummary *summary;
  const double *tiles; // (B, blocks, tile_terms)
  int64_t batch, blocks;
  const double *contrast; // (B, parts), null if it is left out
  int64_t parts;
  float weights[loss_terms];
  float *terms, *total;
};

/// One block; the order of a sum depends on the sizes alone.
__global__ void __launch_bounds__(kThreads) sum_terms(Sums sums) {
  double totals[loss_terms] = {};
  for (int64_t image = 0; image < sums.batch; ++image) {
    const ImageSummary &summary = sums.summary[image];
    for (int64_t block = threadIdx.x; block < sums.blocks; block += kThreads) {
      const double *tile = sums.tiles + (image * sums.blocks + block) * tile_terms;
      totals[attraction] += tile[tile_attraction] * summary.attraction;
      totals[repulsion] += tile[tile_repulsion] * summary.repulsion;
      totals[segment_mse] += tile[tile_mse] * summary.mse;
      totals[segment_gradient] += tile[tile_change];
      totals[norm] += tile[tile_deviation] * summary.norm;
    }
    for (int64_t part = threadIdx.x; part < sums.parts; part += kThreads)
      totals[contrast] += sums.contrast[image * sums.parts + part];
  }
  double total = 0;
  for (int term = 0; term < loss_terms; ++term) {
    const double sum = block_sum(totals[term], shared_memory<double>());
    const auto mean = static_cast<float>(sum / static_cast<double>(sums.batch));
    total += static_cast<double>(sums.weights[term]) * mean;
    if (threadIdx.x == 0)
      sums.terms[term] = mean;
  }
  if (threadIdx.x == 0)
    *sums.total = static_cast<float>(total);
}

struct Plan {
  Plan(const LossesProblem &problem, Workspace &memory)
      : sort(problem.labels, problem.features.batch, problem.features.pixels, problem.num_entities,
             memory),
        images(problem, keeps_features(problem), memory), fused(problem, images, memory) {
    if (problem.queries > 0)
      contrast.emplace(problem, memory);
  }

  LabelSort sort;
  ImageLines images;
  FusedPlan fused;
  std::optional<ContrastPlan> contrast;
};

} // namespace

int64_t losses_cuda_workspace(const LossesProblem &problem) {
  Workspace memory(nullptr);
  Plan(problem, memory);
  return memory.bytes();
}

CudaStatus losses_cuda(const LossesProblem &problem, void *workspace, int32_t *input_status,
                       CudaStream stream) {
  Launcher launches(stream);
  const int64_t batch = problem.features.batch;
  if (batch == 0 || problem.features.pixels == 0) {
    launches.clear(problem.terms, loss_terms);
    launches.clear(problem.total, 1);
    return launches.status();
  }
  Workspace memory(workspace);
  const Plan plan(problem, memory);
  count_labels(plan.sort, input_status, launches);
  describe_images(problem, plan.sort, plan.images, launches);
  run_fused_pass(problem, plan.fused, plan.images, plan.contrast ? plan.contrast->easy : nullptr,
                 input_status, launches);
  Sums sums{plan.images.summary, plan.fused.sums, batch, plan.fused.image_blocks, nullptr, 0, {},
            problem.terms,       problem.total};
  if (plan.contrast) {
    sort_pixels(plan.sort, launches);
    add_contrast(problem, plan.sort, plan.images, *plan.contrast, launches);
    sums.contrast = plan.contrast->sums;
    sums.parts = problem.num_entities * plan.contrast->tiles;
  }
  for (int term = 0; term < loss_terms; ++term)
    sums.weights[term] = problem.weights[term];
  launches("sum_terms", sum_terms, grid_of(1), kThreads, kThreads / kWarp * sizeof(double), sums);
  return launches.status();
}

} // namespace bottomup
