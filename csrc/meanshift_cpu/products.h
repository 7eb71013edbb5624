// Products of lines and tiles of pixels, the inner loop of everything here.
#pragma once

#include "common/matrix_units.h"
#include "common/tile_product.h"

namespace bottomup {

/// Rows of the packed lines' blocks: with two vectors of pixels the sums fit the 16 registers of
/// SSE and AVX2.
inline constexpr int64_t kModes = 6;

/// products[j][p] = m_j . f_p for the first `modes` lines m of the block that starts at `first`.
template <int lanes, int modes = kModes, int vectors = 2>
BOTTOMUP_ALWAYS_INLINE void multiply(const PackedMatrix<> &lines, int64_t first, const Row *tile,
                                     float (*products)[kTile]) {
  multiply_rows<lanes, modes, vectors>(lines, first, tile->pixel, kTile, products[0], kTile);
}

/// Products in float32, on any processor.
struct Float32Products {
  static constexpr int64_t kLines = kModes; // of a block
  using Matrix = PackedMatrix<>;
  using Input = Row;
  struct Session {};

  static Matrix matrix(int64_t lines, int64_t dimensions) { return {lines, dimensions, kModes}; }

  /// The tile as `multiply` takes it.
  static BOTTOMUP_ALWAYS_INLINE const Row *prepare(int64_t, const std::vector<Row> &tile,
                                                   std::vector<PairRow> &) {
    return tile.data();
  }

  template <int lanes>
  static BOTTOMUP_ALWAYS_INLINE void multiply(const Matrix &lines, int64_t first, const Row *tile,
                                              float (*products)[kTile]) {
    // Missing lines would cost as much as others.
    if (lines.rows() - first <= 2)
      bottomup::multiply<lanes, 2, 4>(lines, first, tile, products);
    else
      bottomup::multiply<lanes>(lines, first, tile, products);
  }

  /// Of each pixel: the line with the largest |product| so far, and that. Takes those of `count`
  /// lines from `first` on into account; of equal ones the earliest counts.
  template <int lanes>
  static BOTTOMUP_ALWAYS_INLINE void nearest(const float (*products)[kTile], int64_t first,
                                             int64_t count, int32_t *nearest, float *largest) {
    for (int64_t p = 0; p < kTile; p += lanes) {
      Integers<lanes> line = load<lanes>(nearest + p);
      Vector<lanes> best = load<lanes>(largest + p);
      for (int64_t j = 0; j < count; ++j) {
        const Vector<lanes> product = magnitude<lanes>(load<lanes>(products[j] + p));
        line = product > best ? Integers<lanes>{} + static_cast<int32_t>(first + j) : line;
        best = product > best ? product : best;
      }
      store<lanes>(nearest + p, line);
      store<lanes>(largest + p, best);
    }
  }
};

#if defined(__x86_64__)
/// Products of bfloat16 with float32 sums, where `has_pairs`; a session must last meanwhile.
struct BFloat16Products {
  static constexpr int64_t kLines = kUnitRows;
  using Matrix = PairedMatrix;
  using Input = PairRow;
  using Session = MatrixUnits;

  static Matrix matrix(int64_t lines, int64_t dimensions) { return {lines, dimensions}; }

  static BOTTOMUP_ALWAYS_INLINE const PairRow *
  prepare(int64_t dimensions, const std::vector<Row> &tile, std::vector<PairRow> &pairs) {
    pairs.resize(pair_rows(dimensions));
    round_rows(tile.data(), dimensions, pair_rows(dimensions), pairs.data());
    return pairs.data();
  }

  template <int lanes>
  static BOTTOMUP_ALWAYS_INLINE void multiply(const Matrix &lines, int64_t first,
                                              const PairRow *tile, float (*products)[kTile]) {
    multiply_on_units(lines, first, tile, products);
  }

  /// Finds the line of a block by one maximum: the lowest bits of a product, which its rounding has
  /// made meaningless, number the lines backwards. Lines that are missing have products of zero.
  template <int lanes>
  static BOTTOMUP_ALWAYS_INLINE void nearest(const float (*products)[kTile], int64_t first, int64_t,
                                             int32_t *nearest, float *largest) {
    constexpr int32_t kNumber = kLines - 1;
    for (int64_t p = 0; p < kTile; p += lanes) {
      Integers<lanes> best{};
      BOTTOMUP_UNROLL
      for (int32_t j = 0; j < kLines; ++j) {
        const Integers<lanes> product = (Integers<lanes>)load<lanes>(products[j] + p);
        const Integers<lanes> numbered = (product & (0x7fffffff - kNumber)) | (kNumber - j);
        best = numbered > best ? numbered : best;
      }
      const Integers<lanes> line = static_cast<int32_t>(first) + kNumber - (best & kNumber);
      const Integers<lanes> before = (Integers<lanes>)load<lanes>(largest + p);
      const Integers<lanes> value = best & ~kNumber;
      store<lanes>(nearest + p, value > before ? line : load<lanes>(nearest + p));
      store<lanes>(largest + p, (Vector<lanes>)(value > before ? value : before));
    }
  }
};
#else
using BFloat16Products = Float32Products;
#endif

/// Whether `fast` products are BFloat16Products.
inline bool has_pairs(Simd simd, bool fast) { return fast && simd == Simd::avx512_amx; }

/// sums[d][l] += weight_p f_p[d] over every pixel p of lane l of the tile.
template <int lanes>
BOTTOMUP_ALWAYS_INLINE void accumulate(int64_t dimensions, const Row *tile, const float *weights,
                                       float *sums) {
  for (int64_t d = 0; d < dimensions; ++d) {
    float lane_sums[lanes];
    std::copy_n(sums + d * lanes, lanes, lane_sums);
    BOTTOMUP_UNROLL
    for (int64_t first = 0; first < kTile; first += lanes)
      for (int64_t l = 0; l < lanes; ++l)
        lane_sums[l] += weights[first + l] * tile[d].pixel[first + l];
    std::copy_n(lane_sums, lanes, sums + d * lanes);
  }
}

/// The lanes of `accumulate` added up.
template <int lanes>
BOTTOMUP_ALWAYS_INLINE void add_lanes(int64_t dimensions, const float *sums, float *total) {
  for (int64_t d = 0; d < dimensions; ++d)
    for (int64_t l = 0; l < lanes; ++l)
      total[d] += sums[d * lanes + l];
}

} // namespace bottomup
