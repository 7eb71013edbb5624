// The functions by which tests start the kernels of training. Features are given by their sizes,
// type and strides (of images, channels, pixels, in elements): seven numbers.
#include <cstdint>

#include "contracts/contrast_samples.h"
#include "contracts/losses.h"
#include "contracts/target_lines.h"

using namespace bottomup;

namespace {

FeatureMaps maps_of(const void *data, const int64_t *description) {
  return {
      description[0], description[1], description[2], data, static_cast<DataType>(description[3]),
      description[4], description[5], description[6]};
}

LossesProblem losses_of(const int64_t *features, const int64_t *gradient,
                        const int64_t *arguments) {
  LossesProblem problem{};
  problem.features = maps_of(nullptr, features);
  problem.gradient_layout = maps_of(nullptr, gradient);
  problem.height = arguments[0];
  problem.width = arguments[1];
  problem.num_entities = arguments[2];
  problem.normaliser = static_cast<RepulsionNormaliser>(arguments[3]);
  problem.queries = arguments[4];
  problem.negatives = arguments[5];
  problem.fast = arguments[6] != 0;
  return problem;
}

} // namespace

extern "C" {

int64_t losses_target_lines_workspace(const int64_t *features, int64_t num_entities) {
  return target_lines_cuda_workspace(
      {maps_of(nullptr, features), nullptr, num_entities, nullptr, false});
}

int losses_target_lines(const void *data, const int64_t *features, const int32_t *labels,
                        int64_t num_entities, float *lines, void *workspace,
                        int32_t *input_status) {
  return target_lines_cuda({maps_of(data, features), labels, num_entities, lines, false}, workspace,
                           input_status, nullptr)
      .error;
}

int64_t losses_contrast_samples_workspace(int64_t batch, int64_t pixels, int64_t num_entities,
                                          int64_t queries, int64_t negatives) {
  return contrast_samples_cuda_workspace({batch, pixels, 0, num_entities, nullptr, nullptr, nullptr,
                                          nullptr, queries, negatives, nullptr, nullptr});
}

int losses_contrast_samples(int64_t batch, int64_t pixels, int64_t dimensions, int64_t num_entities,
                            const int32_t *labels, const float *lines, const uint8_t *easy,
                            const int64_t *seeds, int64_t queries, int64_t negatives,
                            int64_t *query_pixels, int64_t *key_pixels, void *workspace,
                            int32_t *input_status) {
  return contrast_samples_cuda({batch, pixels, dimensions, num_entities, labels, lines, easy, seeds,
                                queries, negatives, query_pixels, key_pixels},
                               workspace, input_status, nullptr)
      .error;
}

int64_t losses_losses_workspace(const int64_t *features, const int64_t *arguments) {
  return losses_cuda_workspace(losses_of(features, features, arguments));
}

int losses_losses(const void *data, const int64_t *features, const int64_t *arguments,
                  const int32_t *labels, const float *lines, const float *weights,
                  const int64_t *seeds, float *terms, float *total, void *gradient,
                  const int64_t *gradient_layout, void *workspace, int32_t *input_status) {
  LossesProblem problem = losses_of(features, gradient_layout, arguments);
  problem.features.data = data;
  problem.labels = labels;
  problem.lines = lines;
  for (int term = 0; term < loss_terms; ++term)
    problem.weights[term] = weights[term];
  problem.seeds = seeds;
  problem.terms = terms;
  problem.total = total;
  problem.gradient = gradient;
  return losses_cuda(problem, workspace, input_status, nullptr).error;
}
}
