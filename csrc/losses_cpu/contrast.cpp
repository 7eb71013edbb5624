#include "losses_cpu/contrast.h"

#include <algorithm>
#include <cmath>

#include "common/dispatch.h"
#include "common/feature_tile.h"
#include "common/tile_product.h"
#include "contracts/contrast_samples.h"

namespace bottomup {
namespace {

/// One entity's share of an image's term.
struct EntityContrast {
  int64_t image;
  const float *line;
  const int64_t *queries, *keys; // pixels
  int64_t query_count;
  int64_t entities; // of the image
};

/// e^x for x in [0, 2], to float32's precision, in operations that vectorise.
BOTTOMUP_ALWAYS_INLINE float exponential(float x) {
  const float eighth = x * 0.125f;
  float power = 1.0f / 720;
  for (const float factor : {1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f})
    power = power * eighth + factor;
  power *= power;
  power *= power;
  return power * power;
}

/// Loads scattered pixels as unit lines and returns their lengths; missing ones are zero.
template <typename T>
BOTTOMUP_ALWAYS_INLINE void gather(const FeatureMaps &features, int64_t image,
                                   const int64_t *pixels, int64_t count, Row *tile,
                                   float *lengths) {
  const T *source = static_cast<const T *>(features.data) + image * features.batch_stride;
  for (int64_t d = 0; d < features.dimensions; ++d) {
    std::fill_n(tile[d].pixel, kTile, 0.0f);
    for (int64_t p = 0; p < count; ++p)
      tile[d].pixel[p] =
          to_float(source[d * features.channel_stride + pixels[p] * features.pixel_stride]);
  }
  float squares[kTile];
  squared_lengths(features.dimensions, tile, squares);
  for (int64_t p = 0; p < kTile; ++p) {
    lengths[p] = std::sqrt(squares[p]);
    squares[p] = 1 / std::max(lengths[p], kMinNorm);
  }
  for (int64_t d = 0; d < features.dimensions; ++d)
    for (int64_t p = 0; p < kTile; ++p)
      tile[d].pixel[p] *= squares[p];
}

/// Adds the gradient of queries, given d loss / d x, through the normalisation x = f / |f|.
template <typename T>
BOTTOMUP_ALWAYS_INLINE void scatter(const LossesProblem &problem, const EntityContrast &entity,
                                    const int64_t *pixels, int64_t count, const Row *tile,
                                    const Row *gradient, const float *lengths) {
  const FeatureMaps &features = problem.features;
  float along[kTile] = {};
  for (int64_t d = 0; d < features.dimensions; ++d)
    for (int64_t p = 0; p < kTile; ++p)
      along[p] += tile[d].pixel[p] * gradient[d].pixel[p];
  const FeatureMaps &layout = problem.gradient_layout;
  T *target = static_cast<T *>(problem.gradient) + entity.image * layout.batch_stride;
  for (int64_t p = 0; p < count; ++p) {
    if (lengths[p] == 0)
      continue;
    const float inverse = 1 / std::max(lengths[p], kMinNorm);
    const float radial = lengths[p] >= kMinNorm ? along[p] : 0.0f;
    for (int64_t d = 0; d < features.dimensions; ++d) {
      T &value = target[d * layout.channel_stride + pixels[p] * layout.pixel_stride];
      value = from_float<T>(to_float(value) +
                            inverse * (gradient[d].pixel[p] - radial * tile[d].pixel[p]));
    }
  }
}

template <typename T> struct Contrast {
  template <int lanes>
  BOTTOMUP_ALWAYS_INLINE static double run(const LossesProblem &problem,
                                           const EntityContrast &entity) {
    const FeatureMaps &features = problem.features;
    const int64_t dimensions = features.dimensions, candidates = problem.negatives + 1;
    PackedMatrix<> to_cosines(candidates, dimensions, kBlockRows<lanes>);
    PackedMatrix<> from_cosines(dimensions, candidates, kBlockRows<lanes>);
    std::vector<Row> tile(dimensions), gradient(dimensions), cosines(candidates);
    float lengths[kTile];
    const auto add_candidate = [&](int64_t row, int64_t d, float value) {
      to_cosines.set(row, d, value);
      from_cosines.set(d, row, value);
    };
    for (int64_t d = 0; d < dimensions; ++d)
      add_candidate(0, d, entity.line[d]);
    for (int64_t first = 0; first < problem.negatives; first += kTile) {
      const int64_t count = std::min(kTile, problem.negatives - first);
      gather<T>(features, entity.image, entity.keys + first, count, tile.data(), lengths);
      for (int64_t d = 0; d < dimensions; ++d)
        for (int64_t p = 0; p < count; ++p)
          add_candidate(1 + first + p, d, tile[d].pixel[p]);
    }

    constexpr float sharpness = static_cast<float>(1 / kContrastTemperature);
    const float factor = sharpness * problem.weights[contrast] /
                         static_cast<float>(features.batch * entity.entities * entity.query_count);
    double sum = 0;
    for (int64_t first = 0; first < entity.query_count; first += kTile) {
      const int64_t count = std::min(kTile, entity.query_count - first);
      const int64_t *pixels = entity.queries + first;
      gather<T>(features, entity.image, pixels, count, tile.data(), lengths);
      multiply_tile<lanes>(to_cosines, tile.data()->pixel, kTile, cosines.data()->pixel, kTile);
      // Similarities lie in [0, 2]: no exponential of them overflows.
      float totals[kTile] = {};
      for (int64_t c = 0; c < candidates; ++c)
        for (int64_t p = 0; p < kTile; ++p)
          totals[p] += exponential(std::min(std::abs(cosines[c].pixel[p]), 1.0f) * sharpness);
      for (int64_t p = 0; p < count; ++p)
        sum += std::log(totals[p]) - std::abs(cosines[0].pixel[p]) * sharpness;
      if (!problem.gradient)
        continue;
      for (int64_t c = 0; c < candidates; ++c)
        for (int64_t p = 0; p < kTile; ++p) {
          float &cosine = cosines[c].pixel[p];
          const float share = exponential(std::min(std::abs(cosine), 1.0f) * sharpness) / totals[p];
          const float slope = factor * (share - (c == 0 ? 1.0f : 0.0f));
          cosine = cosine > 0 ? slope : cosine < 0 ? -slope : 0.0f;
        }
      multiply_tile<lanes>(from_cosines, cosines.data()->pixel, kTile, gradient.data()->pixel,
                           kTile);
      scatter<T>(problem, entity, pixels, count, tile.data(), gradient.data(), lengths);
    }
    return sum / static_cast<double>(entity.entities * entity.query_count);
  }
};

} // namespace

void contrast_of_images(const LossesProblem &problem, const uint8_t *easy, Simd simd,
                        const ParallelFor &parallel_for, double *sums) {
  const FeatureMaps &features = problem.features;
  const int64_t batch = features.batch, labels = problem.num_entities;
  std::vector<int64_t> queries(batch * labels * problem.queries);
  std::vector<int64_t> keys(batch * labels * problem.negatives);
  contrast_samples_cpu({batch, features.pixels, features.dimensions, labels, problem.labels,
                        problem.lines, easy, problem.seeds, problem.queries, problem.negatives,
                        queries.data(), keys.data()},
                       simd, parallel_for);
  std::vector<EntityContrast> entities;
  for (int64_t image = 0; image < batch; ++image) {
    const size_t first = entities.size();
    for (int64_t label = 0; label < labels; ++label) {
      const int64_t *own = queries.data() + (image * labels + label) * problem.queries;
      const int64_t count = std::find(own, own + problem.queries, -1) - own;
      if (count > 0)
        entities.push_back(
            {image, problem.lines + (image * (labels + 1) + label + 1) * features.dimensions, own,
             keys.data() + (image * labels + label) * problem.negatives, count, 0});
    }
    for (size_t i = first; i < entities.size(); ++i)
      entities[i].entities = static_cast<int64_t>(entities.size() - first);
  }
  const auto contrast_of = for_type<Contrast>(features.type, simd);
  std::vector<double> shares(entities.size());
  parallel_for(entities.size(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      shares[i] = contrast_of(problem, entities[i]);
  });
  for (size_t i = 0; i < entities.size(); ++i)
    sums[entities[i].image] += shares[i];
}

} // namespace bottomup
