#include "meanshift_cpu/climbing.h"
#include "common/dispatch.h"

#include <numeric>

namespace bottomup {
namespace {

/// sums[j] = sum of (m_j . x) x over the window, weighted, and its weight, for one block of lines.
/// `lane_sums` has room for the sums of every lane; without it only the weight is measured.
template <typename Products> struct StepBlock {
  template <int lanes>
  static BOTTOMUP_ALWAYS_INLINE void
  run(const PointSet &points, const typename Products::Matrix &lines, int64_t line, float window,
      float *lane_sums, float *sums, double *support) {
    [[maybe_unused]] const typename Products::Session session;
    const int64_t dimensions = points.dimensions();
    const int64_t count = std::min(Products::kLines, lines.rows() - line);
    for (int64_t i = 0; i < points.tiles(); ++i) {
      float products[Products::kLines][kTile];
      Products::template multiply<lanes>(lines, line, points.input<Products>(i), products);
      const float *weights = points.weights(i);
      for (int64_t j = 0; j < count; ++j) {
        // Most tiles have nothing in the window of a line.
        int32_t any = 0;
        for (int64_t p = 0; p < kTile; ++p)
          any |= std::abs(products[j][p]) >= window;
        if (!any)
          continue;
        float inside[lanes] = {};
        for (int64_t first = 0; first < kTile; first += lanes)
          for (int64_t l = 0; l < lanes; ++l) {
            const float product = products[j][first + l];
            const float weight = std::abs(product) >= window ? weights[first + l] : 0.0f;
            inside[l] += weight;
            products[j][first + l] = product * weight;
          }
        support[j] += total<lanes>(load<lanes>(inside));
        if (lane_sums)
          accumulate<lanes>(dimensions, points.tile(i), products[j],
                            lane_sums + j * dimensions * lanes);
      }
    }
    if (lane_sums)
      for (int64_t j = 0; j < count; ++j)
        add_lanes<lanes>(dimensions, lane_sums + j * dimensions * lanes, sums + j * dimensions);
  }
};

/// The nearest line of each point and |cos| to it, for the tiles [begin, end).
template <typename Products> struct Nearest {
  template <int lanes>
  static BOTTOMUP_ALWAYS_INLINE void run(const PointSet &points,
                                         const typename Products::Matrix &lines, int64_t begin,
                                         int64_t end, int32_t *index, float *score) {
    [[maybe_unused]] const typename Products::Session session;
    for (int64_t i = begin; i < end; ++i) {
      int32_t nearest[kTile] = {};
      float largest[kTile] = {};
      for (int64_t first = 0; first < lines.rows(); first += Products::kLines) {
        float products[Products::kLines][kTile];
        Products::template multiply<lanes>(lines, first, points.input<Products>(i), products);
        const int64_t count = std::min(Products::kLines, lines.rows() - first);
        Products::template nearest<lanes>(products, first, count, nearest, largest);
      }
      for (int64_t p = 0; p < std::min(kTile, points.count() - i * kTile); ++p) {
        index[i * kTile + p] = nearest[p];
        score[i * kTile + p] = std::min(largest[p], 1.0f); // rounding takes it past 1
      }
    }
  }
};

/// table[i][p] = |m_i . x_p|.
struct Table {
  template <int lanes>
  static BOTTOMUP_ALWAYS_INLINE void run(const PointSet &points, const PackedMatrix<> &lines,
                                         float *table) {
    for (int64_t line = 0; line < lines.rows(); line += kModes)
      for (int64_t i = 0; i < points.tiles(); ++i) {
        float products[kModes][kTile];
        multiply<lanes>(lines, line, points.tile(i), products);
        const int64_t count = std::min(kTile, points.count() - i * kTile);
        for (int64_t j = 0; j < std::min(kModes, lines.rows() - line); ++j)
          for (int64_t p = 0; p < count; ++p)
            table[(line + j) * points.count() + i * kTile + p] = std::abs(products[j][p]);
      }
  }
};

constexpr int64_t kLargestLanes = 16;

} // namespace

template <typename Body> auto Climb::with_products(const Body &body) const {
  return points_.paired() ? body.template operator()<BFloat16Products>()
                          : body.template operator()<Float32Products>();
}

std::vector<double> Climb::step(Lines &lines, const std::vector<int32_t> &chosen) const {
  return with_products([&]<typename Products>() { return step_by<Products>(lines, chosen); });
}

template <typename Products>
std::vector<double> Climb::step_by(Lines &lines, const std::vector<int32_t> &chosen) const {
  constexpr int64_t kLines = Products::kLines;
  const int64_t dimensions = points_.dimensions();
  const int64_t count = static_cast<int64_t>(chosen.size());
  const auto step_block = for_simd<StepBlock<Products>>(simd_);
  Lines moving(dimensions);
  for (const int32_t i : chosen)
    moving.append(lines.row(i));
  const auto packed = pack<Products>(moving);
  std::vector<double> moved(count);
  parallel_for_(ceil_div(count, kLines), 1, [&](int64_t begin, int64_t end) {
    std::vector<float> lane_sums(kLines * dimensions * kLargestLanes);
    std::vector<float> sums(kLines * dimensions);
    for (int64_t block = begin; block < end; ++block) {
      std::ranges::fill(lane_sums, 0.0f);
      std::ranges::fill(sums, 0.0f);
      double support[kLines] = {};
      const int64_t first = block * kLines;
      step_block(points_, packed, first, window_, lane_sums.data(), sums.data(), support);
      for (int64_t j = 0; j < std::min(kLines, count - first); ++j)
        moved[first + j] =
            move_line(lines.row(chosen[first + j]), sums.data() + j * dimensions, dimensions);
    }
  });
  return moved;
}

std::vector<double> Climb::support(const Lines &lines) const {
  return with_products([&]<typename Products>() {
    constexpr int64_t kLines = Products::kLines;
    const auto step_block = for_simd<StepBlock<Products>>(simd_);
    const auto packed = pack<Products>(lines);
    std::vector<double> support(ceil_div(lines.count(), kLines) * kLines);
    parallel_for_(ceil_div(lines.count(), kLines), 1, [&](int64_t begin, int64_t end) {
      for (int64_t first = begin * kLines; first < end * kLines; first += kLines)
        step_block(points_, packed, first, window_, nullptr, nullptr, support.data() + first);
    });
    support.resize(lines.count());
    return support;
  });
}

void Climb::assign(const Lines &lines, int32_t *index, float *score) const {
  with_products([&]<typename Products>() {
    const auto find = for_simd<Nearest<Products>>(simd_);
    const auto packed = pack<Products>(lines);
    parallel_for_(points_.tiles(), 8, [&](int64_t begin, int64_t end) {
      find(points_, packed, begin, end, index, score);
    });
  });
}

std::vector<float> Climb::nearest(const Lines &lines) const {
  std::vector<int32_t> index(points_.count());
  std::vector<float> score(points_.count());
  assign(lines, index.data(), score.data());
  return score;
}

std::vector<float> similarities(const Lines &lines, const Lines &others, Simd simd) {
  PointSet points(others.dimensions);
  points.add(as_features(others), 0, range(others.count()), 1, simd);
  std::vector<float> table(lines.count() * others.count());
  for_simd<Table>(simd)(points, pack(lines), table.data());
  return table;
}

} // namespace bottomup
