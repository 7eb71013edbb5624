#include "contracts/losses.h"

#include <algorithm>
#include <atomic>
#include <vector>

#include "common/feature_tile.h"
#include "losses_cpu/contrast.h"
#include "losses_cpu/row_pass.h"
#include "losses_cpu/segment_space.h"
#include "losses_cpu/tile_terms.h"

namespace bottomup {

TermWeights::TermWeights(const LossesProblem &problem, const ImageLines &image)
    : attraction_of(image.count + 1), repulsion_of(image.count + 1) {
  const auto share = [](double whole, double count) { return count > 0 ? whole / count : 0.0; };
  const double entities = static_cast<double>(image.entities);
  const double divisor = repulsion_divisor(image, problem.normaliser);
  for (int64_t i = 0; i < image.count; ++i) {
    const double pixels = static_cast<double>(image.pixels[i]);
    if (i < image.entities)
      attraction_of[i + 1] = static_cast<float>(1 / (entities * pixels));
    repulsion_of[i + 1] = static_cast<float>(share(1 / pixels, divisor));
  }
  norm = share(1, static_cast<double>(image.valid_pixels));
  mse = share(norm, entities);
  for (int scale = 0; scale < kScales; ++scale)
    pairs[scale] = share(1 / std::max(1.0, static_cast<double>(image.pairs[scale])), entities);

  const auto factor = [&](LossTerm term) {
    return problem.weights[term] / static_cast<float>(problem.features.batch);
  };
  attraction_gradient = factor(attraction);
  repulsion_gradient = factor(repulsion);
  mse_gradient = 2 * factor(segment_mse) * static_cast<float>(mse);
  pair_gradient = factor(segment_gradient);
  norm_gradient = 2 * factor(LossTerm::norm) * static_cast<float>(norm);
}

Status losses_cpu(const LossesProblem &problem, Simd simd, const ParallelFor &parallel_for) {
  const int64_t batch = problem.features.batch, pixels = problem.features.pixels;
  std::fill_n(problem.terms, static_cast<int>(loss_terms), 0.0f);
  *problem.total = 0;
  if (batch == 0 || pixels == 0)
    return Status::ok;

  std::vector<ImageLines> lines(batch);
  std::atomic<bool> labels_fit = true, finite = true;
  parallel_for(batch, 1, [&](int64_t begin, int64_t end) {
    for (int64_t image = begin; image < end; ++image)
      if (!describe_image(problem, image, lines[image]))
        labels_fit = false;
  });
  if (!labels_fit)
    return Status::labels_out_of_range;

  const bool contrasts = problem.queries > 0;
  std::vector<uint8_t> easy(contrasts ? batch * pixels : 0);
  const int64_t tasks = ceil_div(problem.height, kRowsPerTask);
  std::vector<double> sums(batch * tasks * loss_terms);
  parallel_for(batch * tasks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t image = task / tasks;
      if (!losses_of_rows(problem, image, lines[image], task % tasks * kRowsPerTask, simd,
                          sums.data() + task * loss_terms,
                          contrasts ? easy.data() + image * pixels : nullptr))
        finite = false;
    }
  });
  if (!finite)
    return Status::non_finite_features;
  std::vector<double> contrast_sums(batch);
  if (contrasts)
    contrast_of_images(problem, easy.data(), simd, parallel_for, contrast_sums.data());

  double totals[loss_terms] = {};
  for (int64_t task = 0; task < batch * tasks; ++task)
    for (int term = 0; term < loss_terms; ++term)
      totals[term] += sums[task * loss_terms + term];
  for (const double sum : contrast_sums)
    totals[contrast] += sum;
  double total = 0;
  for (int term = 0; term < loss_terms; ++term) {
    problem.terms[term] = static_cast<float>(totals[term] / static_cast<double>(batch));
    total += static_cast<double>(problem.weights[term]) * problem.terms[term];
  }
  *problem.total = static_cast<float>(total);
  return Status::ok;
}

} // namespace bottomup
