// Products of lines and tiles of pixels, the inner loop of everything here.
#pragma once

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
