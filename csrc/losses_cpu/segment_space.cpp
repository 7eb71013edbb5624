#include "losses_cpu/segment_space.h"

#include <algorithm>
#include <cmath>

#include "common/principal_line.h"

namespace bottomup {
namespace {

constexpr double kSimilar = 0.98;
constexpr double kConditionLimit = 1e4;

/// Replaces a symmetric positive definite matrix by its inverse, by Cholesky; false if it is not.
bool invert(std::vector<double> &matrix, int64_t size) {
  std::vector<double> root(size * size), inverse(size * size);
  for (int64_t j = 0; j < size; ++j)
    for (int64_t i = j; i < size; ++i) {
      double sum = matrix[i * size + j];
      for (int64_t k = 0; k < j; ++k)
        sum -= root[i * size + k] * root[j * size + k];
      if (i == j && !(sum > 0))
        return false;
      root[i * size + j] = i == j ? std::sqrt(sum) : sum / root[j * size + j];
    }
  // The inverse of the root, row by row, then its transpose times itself.
  for (int64_t i = 0; i < size; ++i)
    for (int64_t j = 0; j <= i; ++j) {
      double sum = i == j ? 1 : 0;
      for (int64_t k = j; k < i; ++k)
        sum -= root[i * size + k] * inverse[k * size + j];
      inverse[i * size + j] = sum / root[i * size + i];
    }
  for (int64_t i = 0; i < size; ++i)
    for (int64_t j = 0; j <= i; ++j) {
      double sum = 0;
      for (int64_t k = i; k < size; ++k)
        sum += inverse[k * size + i] * inverse[k * size + j];
      matrix[i * size + j] = matrix[j * size + i] = sum;
    }
  return true;
}

/// (M^T M)^-1 of the entities' lines; empty where the segment space is degenerate.
std::vector<float> left_inverse(const ImageLines &image, int64_t dimensions) {
  const int64_t size = image.entities;
  if (size == 0 || size > dimensions)
    return {};
  std::vector<double> gram(size * size);
  for (int64_t i = 0; i < size; ++i)
    for (int64_t j = 0; j <= i; ++j) {
      double product = 0;
      for (int64_t d = 0; d < dimensions; ++d)
        product +=
            static_cast<double>(image.lines[i * dimensions + d]) * image.lines[j * dimensions + d];
      if (i != j && std::abs(product) > kSimilar)
        return {};
      gram[i * size + j] = gram[j * size + i] = product;
    }
  std::vector<double> vector(size);
  const double largest = principal_line(gram.data(), size, vector.data());
  if (!invert(gram, size))
    return {};
  if (largest * principal_line(gram.data(), size, vector.data()) >= kConditionLimit)
    return {};
  return {gram.begin(), gram.end()};
}

void count_pairs(const int32_t *labels, int64_t height, int64_t width, ImageLines &image) {
  for (int scale = 0; scale < kScales; ++scale) {
    const int64_t step = int64_t{1} << scale;
    for (int64_t y = 0; y < height; y += step)
      for (int64_t x = 0; x < width; x += step) {
        const int32_t *label = labels + y * width + x;
        if (*label < 0)
          continue;
        image.pairs[scale] += x + step < width && label[step] >= 0;
        image.pairs[scale] += y + step < height && label[step * width] >= 0;
      }
  }
}

} // namespace

bool describe_image(const LossesProblem &problem, int64_t image, ImageLines &result) {
  const int64_t dimensions = problem.features.dimensions, entities = problem.num_entities;
  const int32_t *labels = problem.labels + image * problem.features.pixels;
  std::vector<int64_t> counts(entities + 2);
  for (int64_t p = 0; p < problem.features.pixels; ++p) {
    if (labels[p] < -1 || labels[p] > entities)
      return false;
    ++counts[labels[p] + 1];
  }
  result.position.assign(entities + 2, -1);
  const auto add = [&](int64_t label) {
    if (counts[label + 1] == 0)
      return;
    const float *line = problem.lines + (image * (entities + 1) + label) * dimensions;
    result.lines.insert(result.lines.end(), line, line + dimensions);
    result.pixels.push_back(counts[label + 1]);
    result.valid_pixels += counts[label + 1];
    result.position[label + 1] = static_cast<int32_t>(result.count++);
  };
  for (int64_t label = 1; label <= entities; ++label)
    add(label);
  result.entities = result.count;
  add(0);
  result.left_inverse = left_inverse(result, dimensions);
  if (!result.left_inverse.empty())
    count_pairs(labels, problem.height, problem.width, result);
  return true;
}

double repulsion_divisor(const ImageLines &image, RepulsionNormaliser normaliser) {
  if (image.count < 2 || image.entities == 0)
    return 0;
  const double pairs = static_cast<double>(image.count * (image.count - 1));
  switch (normaliser) {
  case RepulsionNormaliser::pairs:
    return pairs;
  case RepulsionNormaliser::sqrt_pairs:
    return std::sqrt(pairs);
  case RepulsionNormaliser::entities:
    break;
  }
  return static_cast<double>(image.entities);
}

} // namespace bottomup
