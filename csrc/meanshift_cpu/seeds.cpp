#include "meanshift_cpu/seeds.h"
#include "common/dispatch.h"

#include <bit>
#include <functional>
#include <span>

namespace bottomup {
namespace {

constexpr int64_t kComparisons = 16; // of a line with the next ones of its cell
constexpr int64_t kSums = 16;

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

/// Sixteen sums side by side, as vectors hold them.
BOTTOMUP_ALWAYS_INLINE float fast_dot(const float *a, const float *b, int64_t dimensions) {
  float sums[kSums] = {};
  int64_t d = 0;
  for (; d + kSums <= dimensions; d += kSums)
    for (int64_t l = 0; l < kSums; ++l)
      sums[l] += a[d + l] * b[d + l];
  for (int64_t l = 0; d + l < dimensions; ++l)
    sums[l] += a[d + l] * b[d + l];
  BOTTOMUP_UNROLL
  for (int64_t width = kSums / 2; width > 0; width /= 2)
    for (int64_t l = 0; l < width; ++l)
      sums[l] += sums[l + width];
  return sums[0];
}

/// Adds 1 to the density of both of every two lines of a cell that are compared and lie in each
/// other's window.
struct CountNeighbours {
  template <int lanes>
  static BOTTOMUP_ALWAYS_INLINE void run(const Lines &lines, const int32_t *cell, int64_t count,
                                         float window, int32_t *density) {
    for (int64_t i = 0; i < count; ++i)
      for (int64_t j = i + 1; j < std::min(count, i + 1 + kComparisons); ++j) {
        const float product = fast_dot(lines.row(cell[i]), lines.row(cell[j]), lines.dimensions);
        const int32_t near = std::abs(product) >= window;
        density[cell[i]] += near;
        density[cell[j]] += near;
      }
  }
};

/// Sets the density of those of the chosen lines that lie in the window of a seed to 0.
struct Settle {
  template <int lanes>
  static BOTTOMUP_ALWAYS_INLINE void run(const Lines &lines, std::span<const int32_t> chosen,
                                         int64_t seed, float window, int32_t *density) {
    const int64_t dimensions = lines.dimensions;
    for (const int32_t i : chosen)
      if (density[i] > 0 && std::abs(fast_dot(lines.row(i), lines.row(seed), dimensions)) >= window)
        density[i] = 0;
  }
};

/// A different sign for every turn and dimension, evenly distributed (the finaliser of splitmix64).
float sign(uint32_t turn, int64_t dimension) {
  uint64_t bits = (static_cast<uint64_t>(turn) << 32) + dimension + 0x9e3779b97f4a7c15u;
  bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9u;
  bits = (bits ^ (bits >> 27)) * 0x94d049bb133111ebu;
  return (bits ^ (bits >> 31)) & 1 ? -1.0f : 1.0f;
}

/// The cell of each line.
std::vector<int32_t> cells_of(const Lines &lines, uint32_t turn, Simd simd) {
  const int64_t dimensions = lines.dimensions, count = lines.count();
  const auto size = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(dimensions)));
  std::vector<float> signs(size);
  for (int64_t d = 0; d < size; ++d)
    signs[d] = sign(turn, d);
  std::vector<int32_t> cells(ceil_div(count, kTile) * kTile);
  std::vector<Row> tile(size);
  for (int64_t first = 0; first < count; first += kTile) {
    std::fill(tile.begin() + dimensions, tile.end(), Row{});
    for (int64_t p = 0; p < std::min(kTile, count - first); ++p)
      for (int64_t d = 0; d < dimensions; ++d)
        tile[d].pixel[p] = lines.row(first + p)[d];
    for_simd<Cells>(simd)(size, signs.data(), tile.data(), cells.data() + first);
  }
  cells.resize(count);
  return cells;
}

std::vector<int32_t> densities(const Lines &lines, float window, uint32_t turn, Simd simd) {
  const std::vector<int32_t> cells = cells_of(lines, turn, simd);
  std::vector<int32_t> order = range(lines.count());
  std::ranges::stable_sort(order, {}, [&](int32_t i) { return cells[i]; });
  std::vector<int32_t> density(lines.count(), 1);
  for (auto begin = order.begin(), end = begin; begin != order.end(); begin = end) {
    end = std::find_if(begin, order.end(), [&](int32_t i) { return cells[i] != cells[*begin]; });
    for_simd<CountNeighbours>(simd)(lines, &*begin, end - begin, window, density.data());
  }
  return density;
}

} // namespace

std::vector<int32_t> dense_seeds(const Lines &lines, float window, int32_t least, int64_t limit,
                                 uint32_t turn, Simd simd) {
  std::vector<int32_t> density = densities(lines, window, turn, simd);
  std::vector<int32_t> order = range(lines.count());
  std::erase_if(order, [&](int32_t i) { return density[i] < least; });
  const std::vector<int32_t> original = density;
  std::ranges::stable_sort(order, std::greater{}, [&](int32_t i) { return original[i]; });
  std::vector<int32_t> seeds;
  for (size_t next = 0; next < order.size() && static_cast<int64_t>(seeds.size()) < limit; ++next) {
    const int32_t line = order[next];
    if (density[line] == 0) // in the window of a seed
      continue;
    seeds.push_back(line);
    const auto later = std::span<const int32_t>(order).subspan(next + 1);
    for_simd<Settle>(simd)(lines, later, line, window, density.data());
  }
  return seeds;
}

} // namespace bottomup
