#include "meanshift_cpu/seeds.h"

#include <bit>
#include <numeric>

namespace bottomup {
namespace {

constexpr int64_t kCandidates = 8192; // compared at most
constexpr int64_t kComparisons = 32;  // of a candidate with the next ones of its cell
constexpr int64_t kPadding = 16;      // rows are filled up to whole vectors

/// Cells of a tile of lines by cross-polytope hashing: signs and a Hadamard transform turn the
/// lines, and the cell is the axis nearest to the result. Overwrites the tile, which has
/// `size` >= D rows, a power of two, the rest of them zero.
struct Cells {
  template <int lanes>
  static BOTTOMUP_ALWAYS_INLINE void run(int64_t size, const float *signs, Row *tile,
                                         int32_t *cells) {
    for (int64_t d = 0; d < size; ++d)
      for (int64_t p = 0; p < kTile; ++p)
        tile[d].pixel[p] *= signs[d];
    for (int64_t half = 1; half < size; half *= 2)
      for (int64_t begin = 0; begin < size; begin += 2 * half)
        for (int64_t d = begin; d < begin + half; ++d)
          for (int64_t p = 0; p < kTile; ++p) {
            const float a = tile[d].pixel[p], b = tile[d + half].pixel[p];
            tile[d].pixel[p] = a + b;
            tile[d + half].pixel[p] = a - b;
          }
    float largest[kTile] = {};
    std::fill_n(cells, kTile, 0);
    for (int64_t d = 0; d < size; ++d)
      for (int64_t p = 0; p < kTile; ++p) {
        const float value = std::abs(tile[d].pixel[p]);
        cells[p] = value > largest[p] ? static_cast<int32_t>(d) : cells[p];
        largest[p] = std::max(largest[p], value);
      }
  }
};

using FindCells = void (*)(int64_t, const float *, Row *, int32_t *);

template <int lanes>
BOTTOMUP_ALWAYS_INLINE float row_dot(const float *a, const float *b, int64_t stride) {
  float sums[kPadding] = {};
  for (int64_t d = 0; d < stride; d += kPadding)
    for (int64_t l = 0; l < kPadding; ++l)
      sums[l] += a[d + l] * b[d + l];
  BOTTOMUP_UNROLL
  for (int64_t width = kPadding / 2; width > 0; width /= 2)
    for (int64_t l = 0; l < width; ++l)
      sums[l] += sums[l + width];
  return sums[0];
}

/// Adds 1 to the density of both of every two rows compared that are in each other's window.
struct CountNeighbours {
  template <int lanes>
  static BOTTOMUP_ALWAYS_INLINE void run(const float *rows, int64_t stride, int64_t begin,
                                         int64_t end, float window, int32_t *density) {
    for (int64_t i = begin; i < end; ++i)
      for (int64_t j = i + 1; j < std::min(end, i + 1 + kComparisons); ++j) {
        const float product = row_dot<lanes>(rows + i * stride, rows + j * stride, stride);
        const int32_t near = std::abs(product) >= window;
        density[i] += near;
        density[j] += near;
      }
  }
};

using Count = void (*)(const float *, int64_t, int64_t, int64_t, float, int32_t *);

/// Sets the density of the rows in the window of one of them to 0.
struct Settle {
  template <int lanes>
  static BOTTOMUP_ALWAYS_INLINE void run(const float *rows, int64_t stride, int64_t count,
                                         int64_t seed, float window, int32_t *density) {
    for (int64_t i = 0; i < count; ++i)
      if (density[i] > 0 &&
          std::abs(row_dot<lanes>(rows + i * stride, rows + seed * stride, stride)) >= window)
        density[i] = 0;
    density[seed] = 0;
  }
};

using SettleWindow = void (*)(const float *, int64_t, int64_t, int64_t, float, int32_t *);

/// A different sign for every turn and dimension, evenly distributed (the finaliser of splitmix64).
float sign(uint32_t turn, int64_t dimension) {
  uint64_t bits = (static_cast<uint64_t>(turn) << 32) + dimension + 0x9e3779b97f4a7c15u;
  bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9u;
  bits = (bits ^ (bits >> 27)) * 0x94d049bb133111ebu;
  return (bits ^ (bits >> 31)) & 1 ? -1.0f : 1.0f;
}

/// Candidates as padded rows, those of one cell after another; `candidates` is put into that order.
struct Cellwise {
  Cellwise(const PointSet &points, std::vector<int32_t> &candidates, uint32_t turn, Simd simd)
      : stride(ceil_div(points.dimensions(), kPadding) * kPadding) {
    const int64_t dimensions = points.dimensions();
    const int64_t size = std::bit_ceil(static_cast<uint64_t>(dimensions));
    const int64_t count = static_cast<int64_t>(candidates.size());
    std::vector<float> signs(size);
    for (int64_t d = 0; d < size; ++d)
      signs[d] = sign(turn, d);
    std::vector<float> unordered(count * stride);
    std::vector<int32_t> cells(ceil_div(count, kTile) * kTile);
    std::vector<Row> tile(size);
    for (int64_t first = 0; first < count; first += kTile) {
      std::ranges::fill(tile, Row{});
      for (int64_t p = 0; p < std::min(kTile, count - first); ++p) {
        float *row = unordered.data() + (first + p) * stride;
        points.copy(candidates[first + p], row);
        for (int64_t d = 0; d < dimensions; ++d)
          tile[d].pixel[p] = row[d];
      }
      for_simd<Cells, FindCells>(simd)(size, signs.data(), tile.data(), cells.data() + first);
    }

    ends.assign(size + 1, 0);
    for (int64_t i = 0; i < count; ++i)
      ++ends[cells[i] + 1];
    std::partial_sum(ends.begin(), ends.end(), ends.begin());
    std::vector<int64_t> next(ends.begin(), ends.end() - 1);
    rows.resize(count * stride);
    const std::vector<int32_t> original = candidates;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t place = next[cells[i]]++;
      candidates[place] = original[i];
      std::copy_n(unordered.data() + i * stride, stride, rows.data() + place * stride);
    }
  }

  int64_t stride;
  std::vector<float> rows;
  std::vector<int64_t> ends; // cell c is the rows from ends[c] to ends[c + 1]
};

} // namespace

std::vector<int32_t> dense_seeds(const PointSet &points, std::vector<int32_t> candidates,
                                 float window, int32_t least, int64_t limit, uint32_t turn,
                                 Simd simd) {
  candidates = evenly_spaced(candidates, kCandidates);
  const int64_t count = static_cast<int64_t>(candidates.size());
  const Cellwise cellwise(points, candidates, turn, simd);
  std::vector<int32_t> density(count, 1);
  for (size_t cell = 0; cell + 1 < cellwise.ends.size(); ++cell)
    for_simd<CountNeighbours, Count>(simd)(cellwise.rows.data(), cellwise.stride,
                                           cellwise.ends[cell], cellwise.ends[cell + 1], window,
                                           density.data());
  std::vector<int32_t> order = range(count);
  std::ranges::stable_sort(order, [&](int32_t a, int32_t b) {
    return density[a] != density[b] ? density[a] > density[b] : candidates[a] < candidates[b];
  });
  std::vector<int32_t> seeds;
  for (const int32_t i : order) {
    if (density[i] < least) // as it was, or settled since
      continue;
    if (static_cast<int64_t>(seeds.size()) == limit)
      break;
    seeds.push_back(candidates[i]);
    for_simd<Settle, SettleWindow>(simd)(cellwise.rows.data(), cellwise.stride, count, i, window,
                                         density.data());
  }
  return seeds;
}

} // namespace bottomup
