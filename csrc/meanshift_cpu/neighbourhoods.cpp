#include "meanshift_cpu/neighbourhoods.h"
#include "common/dispatch.h"

#include <bit>
#include <functional>

namespace bottomup {
namespace {

/// Bit l says whether |values[l]| is at least `least`.
template <int lanes>
BOTTOMUP_ALWAYS_INLINE uint32_t large_ones(const Vector<lanes> &values, float least) {
  const Vector<lanes> bound = Vector<lanes>{} + least;
#if defined(__x86_64__)
  if constexpr (lanes == 16) {
    uint32_t bits;
    constexpr int kAtLeast = 13;
    asm("vcmpps %3, %2, %1, %%k1\n\tkmovw %%k1, %0"
        : "=r"(bits)
        : "v"(magnitude<lanes>(values)), "v"(bound), "i"(kAtLeast)
        : "k1");
    return bits;
  }
#endif
  const Integers<lanes> large = magnitude<lanes>(values) >= bound;
  uint32_t bits = 0;
  for (int l = 0; l < lanes; ++l)
    bits |= static_cast<uint32_t>(large[l] & 1) << l;
  return bits;
}

/// The neighbourhoods of the points [first, first + Products::kLines).
template <typename Products> struct Compare {
  template <int lanes>
  static BOTTOMUP_ALWAYS_INLINE void run(const PointSet &points,
                                         const typename Products::Matrix &lines, int64_t first,
                                         float window, uint64_t *near, int32_t *sizes) {
    [[maybe_unused]] const typename Products::Session session;
    const int64_t count = std::min(Products::kLines, lines.rows() - first);
    for (int64_t i = 0; i < points.tiles(); ++i) {
      float products[Products::kLines][kTile];
      Products::template multiply<lanes>(lines, first, points.input<Products>(i), products);
      for (int64_t j = 0; j < count; ++j) {
        uint64_t inside = 0;
        BOTTOMUP_UNROLL
        for (int64_t p = 0; p < kTile; p += lanes)
          inside |= uint64_t{large_ones<lanes>(load<lanes>(products[j] + p), window)} << p;
        near[j * points.tiles() + i] = inside;
        sizes[j] += std::popcount(inside);
      }
    }
  }
};

} // namespace

Neighbourhoods::Neighbourhoods(const PointSet &points, float window, Simd simd,
                               const ParallelFor &parallel_for)
    : words_(points.tiles()), near_(points.count() * words_), sizes_(points.count()) {
  if (points.paired())
    compare<BFloat16Products>(points, window, simd, parallel_for);
  else
    compare<Float32Products>(points, window, simd, parallel_for);
}

template <typename Products>
void Neighbourhoods::compare(const PointSet &points, float window, Simd simd,
                             const ParallelFor &parallel_for) {
  const auto body = for_simd<Compare<Products>>(simd);
  const auto lines = pack<Products>(points.lines(range(points.count())));
  parallel_for(ceil_div(points.count(), Products::kLines), 1, [&](int64_t begin, int64_t end) {
    for (int64_t first = begin * Products::kLines; first < end * Products::kLines;
         first += Products::kLines)
      body(points, lines, first, window, near_.data() + first * words_, sizes_.data() + first);
  });
}

std::vector<int32_t> Neighbourhoods::peaks(int32_t least) const {
  std::vector<int32_t> order = range(static_cast<int64_t>(sizes_.size()));
  std::erase_if(order, [&](int32_t i) { return sizes_[i] < least; });
  std::ranges::stable_sort(order, std::greater{}, [&](int32_t i) { return sizes_[i]; });
  std::vector<uint64_t> covered(words_);
  std::vector<int32_t> chosen;
  for (const int32_t i : order) {
    if (covered[i / kTile] >> (i % kTile) & 1)
      continue;
    chosen.push_back(i);
    for (int64_t word = 0; word < words_; ++word)
      covered[word] |= near_[i * words_ + word];
  }
  return chosen;
}

} // namespace bottomup
