#include "contracts/contrast_samples.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <utility>
#include <vector>

#include "common/philox.h"
#include "losses_cpu/label_groups.h"

namespace bottomup {
namespace {

enum Stream : uint32_t { query_stream, key_stream };

struct Image {
  const ContrastSamplesProblem &problem;
  int64_t index;
  LabelGroups groups;
  std::vector<int64_t> entities; // labels that have pixels

  const float *line(int64_t label) const {
    return problem.lines + (index * (problem.num_entities + 1) + label) * problem.dimensions;
  }
  Words draw(int64_t label, int64_t number, Stream stream) const {
    return philox(problem.seeds[2 * index],
                  {static_cast<uint32_t>(problem.seeds[2 * index + 1]),
                   static_cast<uint32_t>(label), static_cast<uint32_t>(number), stream});
  }
};

void draw_queries(const Image &image, int64_t label, int64_t *result) {
  const int64_t begin = image.groups.first[label], count = image.groups.count(label);
  const uint8_t *easy = image.problem.easy + image.index * image.problem.pixels;
  std::vector<std::pair<double, int32_t>> order(count);
  for (int64_t i = 0; i < count; ++i) {
    const int32_t pixel = image.groups.pixels[begin + i];
    const double rank = uniform(image.draw(label, pixel, query_stream)[0]);
    order[i] = {easy[pixel] + rank, pixel};
  }
  const int64_t drawn = std::min(count, image.problem.queries);
  std::partial_sort(order.begin(), order.begin() + drawn, order.end());
  for (int64_t i = 0; i < drawn; ++i)
    result[i] = order[i].second;
}

/// Probabilities that a key of the entity comes from each entity, summed up.
std::vector<double> key_distribution(const Image &image, int64_t label) {
  std::vector<double> sums;
  double total = 0;
  for (const int64_t other : image.entities) {
    float product = 0;
    for (int64_t d = 0; d < image.problem.dimensions; ++d)
      product += image.line(label)[d] * image.line(other)[d];
    total += other == label ? 0 : std::exp(std::abs(product) / kContrastTemperature);
    sums.push_back(total);
  }
  for (double &sum : sums)
    sum /= total;
  return sums;
}

void draw_keys(const Image &image, int64_t label, int64_t *result) {
  const std::vector<double> sums = key_distribution(image, label);
  // A sum that rounds below 1 must not pick past the last possible entity.
  const int64_t last = static_cast<int64_t>(sums.size()) - 1 - (image.entities.back() == label);
  for (int64_t i = 0; i < image.problem.negatives; ++i) {
    const Words words = image.draw(label, i, key_stream);
    const auto found = std::upper_bound(sums.begin(), sums.end(), uniform(words[0]));
    const int64_t picked = image.entities[std::min<int64_t>(found - sums.begin(), last)];
    const double place = uniform(words[1]) * static_cast<double>(image.groups.count(picked));
    result[i] = image.groups.pixels[image.groups.first[picked] + static_cast<int64_t>(place)];
  }
}

} // namespace

Status contrast_samples_cpu(const ContrastSamplesProblem &problem, Simd,
                            const ParallelFor &parallel_for) {
  const int64_t entities = problem.num_entities;
  std::fill_n(problem.query_pixels, problem.batch * entities * problem.queries, -1);
  std::fill_n(problem.key_pixels, problem.batch * entities * problem.negatives, -1);
  for (int64_t index = 0; index < problem.batch; ++index) {
    Image image{problem, index, {}, {}};
    if (!group_by_label(problem.labels + index * problem.pixels, problem.pixels, entities,
                        image.groups))
      return Status::labels_out_of_range;
    for (int64_t label = 1; label <= entities; ++label)
      if (image.groups.count(label) > 0)
        image.entities.push_back(label);
    if (image.entities.size() < 2)
      continue;
    parallel_for(image.entities.size(), 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t row = index * entities + image.entities[i] - 1;
        draw_queries(image, image.entities[i], problem.query_pixels + row * problem.queries);
        draw_keys(image, image.entities[i], problem.key_pixels + row * problem.negatives);
      }
    });
  }
  return Status::ok;
}

} // namespace bottomup
