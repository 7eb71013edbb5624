#include "losses_cpu/row_pass.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "common/dispatch.h"
#include "common/feature_tile.h"
#include "common/tile_product.h"
#include "losses_cpu/tile_terms.h"

namespace bottomup {
namespace {

constexpr int64_t kReach = int64_t{1} << (kScales - 1); // of the coarsest scale, in rows
constexpr int64_t kRing = 2 * kReach + 1;
constexpr int64_t kStreaming = int64_t{1} << 23; // numbers of a gradient that no cache would hold
constexpr float kEasy = 0.97f;

/// Rows as operands of products.
template <typename Operand> struct Operands;

template <> struct Operands<float> {
  explicit Operands(int64_t) {}

  BOTTOMUP_ALWAYS_INLINE const float *of(const Row *rows, int64_t) { return rows->pixel; }
};

template <> struct Operands<BFloat16Pair> {
  explicit Operands(int64_t most_rows) : pairs(ceil_div(most_rows, 2)) {}

  BOTTOMUP_ALWAYS_INLINE const BFloat16Pair *of(const Row *rows, int64_t count) {
    round_rows(rows, count, ceil_div(count, 2), pairs.data());
    return pairs.data()->pixel;
  }

  std::vector<PairRow> pairs;
};

/// Everything one task keeps: the image's matrices, the last rows, one tile.
template <typename Operand> struct RowPass {
  RowPass(const LossesProblem &problem, int64_t image, const ImageLines &lines, int64_t block_rows)
      : problem(problem), image(image), lines(lines), dimensions(problem.features.dimensions),
        usable(!lines.left_inverse.empty()),
        streams(problem.features.batch * dimensions * problem.features.pixels >= kStreaming),
        to_cosines(lines.count, dimensions, block_rows),
        from_cosines(dimensions, lines.count, block_rows),
        to_segments(usable ? lines.entities : 0, usable ? lines.entities : 0, block_rows),
        weights(problem, lines), ring(kRing, lines.count, to_segments.rows(), problem.width),
        tile(dimensions),
        gradients(std::max<int64_t>(lines.count, 1)) /* an image may be all ignored */,
        segment_gradients(to_segments.rows()), operands(std::max(dimensions, lines.count)) {
    for (int64_t j = 0; j < lines.count; ++j)
      for (int64_t d = 0; d < dimensions; ++d) {
        to_cosines.set(j, d, lines.lines[j * dimensions + d]);
        from_cosines.set(d, j, lines.lines[j * dimensions + d]);
      }
    for (int64_t i = 0; i < to_segments.rows(); ++i)
      for (int64_t j = 0; j < to_segments.rows(); ++j)
        to_segments.set(i, j, lines.left_inverse[i * lines.entities + j]);
  }

  const LossesProblem &problem;
  const int64_t image;
  const ImageLines &lines;
  const int64_t dimensions;
  const bool usable, streams;
  PackedMatrix<Operand> to_cosines, from_cosines;
  PackedMatrix<> to_segments;
  const TermWeights weights;
  Ring ring;
  std::vector<Row> tile, gradients, segment_gradients;
  Operands<Operand> operands;
};

/// Cosines with all lines, and coordinates in the segment space (eq. 7), of one row into the ring.
template <typename T, int lanes, typename Operand>
BOTTOMUP_ALWAYS_INLINE bool compare_row(RowPass<Operand> &pass, int64_t y) {
  const int64_t width = pass.problem.width, stride = pass.ring.stride;
  const int32_t *labels = pass.problem.labels + (pass.image * pass.problem.height + y) * width;
  int32_t *position = pass.ring.position(y);
  for (int64_t x = 0; x < width; ++x)
    position[x] = pass.lines.position[labels[x] + 1];
  for (int64_t first = 0; first < width; first += kTile) {
    const int64_t count = std::min(kTile, width - first);
    load_tile<T>(pass.problem.features, pass.image, y * width + first, count, pass.tile.data());
    float lengths[kTile];
    if (!lengths_of(pass.dimensions, pass.tile.data(), count, lengths))
      return false;
    float *cosines = pass.ring.cosines(y) + first;
    const Operand *features = pass.operands.of(pass.tile.data(), pass.dimensions);
    multiply_tile<lanes>(pass.to_cosines, features, kTile, cosines, stride);
    for (int64_t p = 0; p < kTile; ++p)
      lengths[p] = 1 / std::max(lengths[p], kMinNorm);
    for (int64_t j = 0; j < pass.lines.count; ++j)
      for (int64_t p = 0; p < kTile; ++p)
        cosines[j * stride + p] *= lengths[p];
    multiply_tile<lanes>(pass.to_segments, cosines, stride, pass.ring.segments(y) + first, stride);
  }
  return true;
}

/// From d loss / d cosines to d loss / d features of one tile, in place of its features.
template <int lanes, typename Operand>
BOTTOMUP_ALWAYS_INLINE void gradient_of_tile(RowPass<Operand> &pass, const TileWeights &weights,
                                             const float *lengths, const float *along) {
  constexpr int64_t rows = kBlockRows<lanes>;
  float inverse[kTile], radial[kTile];
  for (int64_t p = 0; p < kTile; ++p) {
    inverse[p] = 1 / std::max(lengths[p], kMinNorm);
    // The normalisation takes out what lies along the feature, but none where it is a mere scaling.
    const float tangent = lengths[p] >= kMinNorm ? -along[p] * inverse[p] * inverse[p] : 0.0f;
    const float norm = pass.weights.norm_gradient * weights.valid[p];
    radial[p] = tangent + (lengths[p] > 0 ? norm * (lengths[p] - 1) / lengths[p] : 0.0f);
  }
  const Operand *gradients = pass.operands.of(pass.gradients.data(), pass.lines.count);
  for (int64_t d = 0; d < pass.dimensions; d += rows) {
    float products[rows][kTile];
    multiply_block<lanes>(pass.from_cosines, d, gradients, kTile, products[0], kTile);
    for (int64_t r = 0; r < std::min(rows, pass.dimensions - d); ++r)
      for (int64_t p = 0; p < kTile; ++p) {
        float &value = pass.tile[d + r].pixel[p];
        value = inverse[p] * products[r][p] + radial[p] * value;
      }
  }
}

/// Terms and gradient of one row whose neighbours are in the ring.
template <typename T, int lanes, typename Operand>
BOTTOMUP_ALWAYS_INLINE void finish_row(RowPass<Operand> &pass, int64_t y, double *sums,
                                       uint8_t *easy) {
  const LossesProblem &problem = pass.problem;
  const int64_t width = problem.width, stride = pass.ring.stride;
  for (int64_t first = 0; first < width; first += kTile) {
    const int64_t count = std::min(kTile, width - first);
    const int32_t *position = pass.ring.position(y) + first;
    const float *cosines = pass.ring.cosines(y) + first;
    const TileWeights weights(pass.weights, position);
    compare_with_lines(pass.weights, weights, position, cosines, stride, pass.lines.count,
                       pass.gradients.data(), sums);
    if (easy)
      for (int64_t p = 0; p < count; ++p) {
        const int32_t own = position[p];
        easy[y * width + first + p] = own >= 0 && std::abs(cosines[own * stride + p]) >= kEasy;
      }
    if (pass.usable) {
      compare_in_segment_space<lanes>(pass.weights, weights, pass.ring, y, problem.height, first,
                                      pass.segment_gradients.data(), sums);
      for (int64_t i = 0; i < pass.to_segments.rows(); i += kBlockRows<lanes>) {
        float products[kBlockRows<lanes>][kTile];
        multiply_block<lanes, float>(pass.to_segments, i, pass.segment_gradients.data()->pixel,
                                     kTile, products[0], kTile);
        for (int64_t r = 0; r < std::min(kBlockRows<lanes>, pass.to_segments.rows() - i); ++r)
          for (int64_t p = 0; p < kTile; ++p)
            pass.gradients[i + r].pixel[p] += products[r][p];
      }
    }
    load_tile<T>(problem.features, pass.image, y * width + first, count, pass.tile.data());
    float lengths[kTile], along[kTile] = {};
    lengths_of(pass.dimensions, pass.tile.data(), count, lengths);
    double deviation = 0;
    for (int64_t p = 0; p < kTile; ++p)
      deviation += weights.valid[p] * (lengths[p] - 1) * (lengths[p] - 1);
    sums[norm] += pass.weights.norm * deviation;
    if (!problem.gradient)
      continue;
    for (int64_t j = 0; j < pass.lines.count; ++j)
      for (int64_t p = 0; p < kTile; ++p)
        along[p] += cosines[j * stride + p] * pass.gradients[j].pixel[p];
    gradient_of_tile<lanes>(pass, weights, lengths, along);
    store_tile<T>(problem.gradient_layout, problem.gradient, pass.image, y * width + first, count,
                  pass.tile.data(), pass.streams);
  }
}

template <typename T, typename Operand> struct Rows {
  template <int lanes>
  BOTTOMUP_ALWAYS_INLINE static bool run(const LossesProblem &problem, int64_t image,
                                         const ImageLines &lines, int64_t first_row, double *sums,
                                         uint8_t *easy) {
    RowPass<Operand> pass(problem, image, lines, kBlockRows<lanes>);
    const int64_t end = std::min(first_row + kRowsPerTask, problem.height);
    // Rows above that the first row is compared with, one a scale, and the one below the last.
    if (pass.usable)
      for (int64_t step = kReach; step > 0; step /= 2)
        if (first_row >= step && !compare_row<T, lanes>(pass, first_row - step))
          return false;
    const int64_t lag = pass.usable ? kReach : 0;
    const int64_t last = pass.usable ? std::min(end + 1, problem.height) : end;
    int64_t finished = first_row;
    for (int64_t y = first_row; y < last; ++y) {
      if (!compare_row<T, lanes>(pass, y))
        return false;
      if (y - lag >= first_row)
        finish_row<T, lanes>(pass, finished++, sums, easy);
    }
    while (finished < end)
      finish_row<T, lanes>(pass, finished++, sums, easy);
    finish_streaming();
    return true;
  }
};

} // namespace

bool losses_of_rows(const LossesProblem &problem, int64_t image, const ImageLines &lines,
                    int64_t first_row, Simd simd, double *sums, uint8_t *easy) {
  return for_precision<Rows>(problem.features.type, simd, problem.fast)(problem, image, lines,
                                                                        first_row, sums, easy);
}

} // namespace bottomup
