// The ops bottomup_fast::target_lines, contrast_samples and losses.
#include <torch/csrc/stable/library.h>

#include <tuple>

#include "common/huge_pages.h"
#include "contracts/contrast_samples.h"
#include "contracts/losses.h"
#include "contracts/target_lines.h"
#include "torch/run.h"

namespace bottomup {
namespace {

/// Labels (B, H, W) for the features' B, H and W, contiguous.
Tensor contiguous_labels(const Tensor &labels, const Tensor &features, const char *op) {
  check(labels.dim() == 3 && labels.size(0) == features.size(0) &&
            labels.size(1) == features.size(2) && labels.size(2) == features.size(3),
        op, "labels must have shape (B, H, W) with those of features");
  check(labels.scalar_type() == ScalarType::Int, op, "labels must be int32");
  check_device(labels, "labels", features, op);
  return torch::stable::contiguous(labels);
}

Tensor target_lines(Tensor features, Tensor labels, int64_t num_entities, bool fast) {
  constexpr const char *op = "target_lines";
  const FeatureMaps maps = feature_maps(features, op);
  labels = contiguous_labels(labels, features, op);
  check(num_entities >= 0, op, "num_entities must not be negative");
  const Tensor lines = torch::stable::new_empty(
      features, {maps.batch, num_entities + 1, maps.dimensions}, ScalarType::Float);
  run<TargetLinesProblem>(
      BOTTOMUP_KERNELS(target_lines),
      {maps, labels.const_data_ptr<int32_t>(), num_entities, lines.mutable_data_ptr<float>(), fast},
      features, op);
  return lines;
}

void check_lines(const Tensor &lines, int64_t batch, int64_t dimensions, const char *op) {
  check(lines.scalar_type() == ScalarType::Float, op, "lines must be float32");
  check(lines.dim() == 3 && lines.size(0) == batch && lines.size(1) > 0 &&
            (dimensions < 0 || lines.size(2) == dimensions),
        op, "lines must have shape (B, K+1, D) with the B and D of features");
}

void check_seeds(const Tensor &seeds, int64_t batch, const char *op) {
  check(seeds.scalar_type() == ScalarType::Long, op, "seeds must be int64");
  check(seeds.dim() == 2 && seeds.size(0) == batch && seeds.size(1) == 2, op,
        "seeds must have shape (B, 2)");
}

std::tuple<Tensor, Tensor> contrast_samples(Tensor labels, Tensor easy, Tensor lines, Tensor seeds,
                                            int64_t queries, int64_t negatives) {
  constexpr const char *op = "contrast_samples";
  check(labels.dim() == 3 && labels.scalar_type() == ScalarType::Int, op,
        "labels must be (B, H, W) int32");
  check(easy.scalar_type() == ScalarType::Bool && easy.dim() == 3 && easy.numel() == labels.numel(),
        op, "easy must be bool with the shape of labels");
  check_device(easy, "easy", labels, op);
  check_device(lines, "lines", labels, op);
  check_device(seeds, "seeds", labels, op);
  const int64_t batch = labels.size(0);
  check_lines(lines, batch, -1, op);
  check_seeds(seeds, batch, op);
  check(queries >= 0 && negatives >= 0, op, "queries and negatives must not be negative");
  labels = torch::stable::contiguous(labels);
  easy = torch::stable::contiguous(easy);
  lines = torch::stable::contiguous(lines);
  seeds = torch::stable::contiguous(seeds);
  const int64_t entities = lines.size(1) - 1;
  const Tensor query_pixels =
      torch::stable::new_empty(labels, {batch, entities, queries}, ScalarType::Long);
  const Tensor key_pixels =
      torch::stable::new_empty(labels, {batch, entities, negatives}, ScalarType::Long);
  run<ContrastSamplesProblem>(BOTTOMUP_KERNELS(contrast_samples),
                              {batch, labels.size(1) * labels.size(2), lines.size(2), entities,
                               labels.const_data_ptr<int32_t>(), lines.const_data_ptr<float>(),
                               static_cast<const uint8_t *>(easy.const_data_ptr()),
                               seeds.const_data_ptr<int64_t>(), queries, negatives,
                               query_pixels.mutable_data_ptr<int64_t>(),
                               key_pixels.mutable_data_ptr<int64_t>()},
                              labels, op);
  return {query_pixels, key_pixels};
}

std::tuple<Tensor, Tensor, Tensor> losses(Tensor features, Tensor labels, Tensor lines,
                                          Tensor weights, Tensor seeds, int64_t normaliser,
                                          int64_t queries, int64_t negatives, bool fast,
                                          bool with_gradient) {
  constexpr const char *op = "losses";
  LossesProblem problem{};
  problem.features = feature_maps(features, op);
  labels = contiguous_labels(labels, features, op);
  check_lines(lines, problem.features.batch, problem.features.dimensions, op);
  check_seeds(seeds, problem.features.batch, op);
  check_device(lines, "lines", features, op);
  check_device(seeds, "seeds", features, op);
  check(weights.is_cpu() && weights.scalar_type() == ScalarType::Float && weights.dim() == 1 &&
            weights.size(0) == loss_terms,
        op, "weights must be six float32 numbers on the CPU");
  check(normaliser >= 0 && normaliser <= 2, op, "normaliser must be 0, 1 or 2");
  check(queries >= 0 && (queries == 0 || negatives > 0), op, "queries need negatives");
  lines = torch::stable::contiguous(lines);
  seeds = torch::stable::contiguous(seeds);
  weights = torch::stable::contiguous(weights);
  const Tensor terms = torch::stable::new_empty(features, {loss_terms}, ScalarType::Float);
  const Tensor total = torch::stable::new_empty(features, {}, ScalarType::Float);
  Tensor gradient = with_gradient ? torch::stable::empty_like(features)
                                  : torch::stable::new_empty(features, {0}, features.scalar_type());
  problem.height = features.size(2);
  problem.width = features.size(3);
  problem.labels = labels.const_data_ptr<int32_t>();
  problem.num_entities = lines.size(1) - 1;
  problem.lines = lines.const_data_ptr<float>();
  problem.normaliser = static_cast<RepulsionNormaliser>(normaliser);
  for (int term = 0; term < loss_terms; ++term)
    problem.weights[term] = weights.const_data_ptr<float>()[term];
  problem.seeds = seeds.const_data_ptr<int64_t>();
  problem.queries = queries;
  problem.negatives = negatives;
  problem.fast = fast;
  problem.terms = terms.mutable_data_ptr<float>();
  problem.total = total.mutable_data_ptr<float>();
  if (with_gradient) {
    problem.gradient_layout = feature_maps(gradient, op);
    problem.gradient = gradient.mutable_data_ptr();
    if (features.is_cpu())
      prefer_huge_pages(problem.gradient, gradient.numel() * gradient.element_size());
  }
  run<LossesProblem>(BOTTOMUP_KERNELS(losses), problem, features, op);
  return {terms, total, gradient};
}

} // namespace

STABLE_TORCH_LIBRARY_IMPL(bottomup_fast, CPU, library) {
  library.impl("target_lines", TORCH_BOX(&target_lines));
  library.impl("contrast_samples", TORCH_BOX(&contrast_samples));
  library.impl("losses", TORCH_BOX(&losses));
}

#if BOTTOMUP_CUDA
STABLE_TORCH_LIBRARY_IMPL(bottomup_fast, CUDA, library) {
  library.impl("target_lines", TORCH_BOX(&target_lines));
  library.impl("contrast_samples", TORCH_BOX(&contrast_samples));
  library.impl("losses", TORCH_BOX(&losses));
}
#endif

} // namespace bottomup
