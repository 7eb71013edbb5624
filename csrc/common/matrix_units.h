// Products of bfloat16 matrices on the units that Intel's AMX adds to a processor.
#pragma once

#include <cstdint>
#include <vector>

#include "common/simd.h"
#include "common/tile_product.h"

namespace bottomup {

inline constexpr int64_t kUnitRows = 16;  // of a matrix that the units multiply at once
inline constexpr int64_t kUnitPairs = 16; // of numbers in each of its rows

/// Pairs of channels that products on the units take: whole matrices of them.
inline int64_t pair_rows(int64_t dimensions) {
  return ceil_div(dimensions, 2 * kUnitPairs) * kUnitPairs;
}

/// A (rows, columns) matrix in blocks of kUnitRows rows, each in matrices of kUnitPairs pairs;
/// what is missing is zero.
class PairedMatrix {
public:
  PairedMatrix(int64_t rows, int64_t columns)
      : rows_(rows), matrices_(pair_rows(columns) / kUnitPairs),
        values_(ceil_div(rows, kUnitRows) * matrices_ * kUnitRows * kUnitPairs) {}

  void set(int64_t row, int64_t column, float value) {
    const int64_t matrix = row / kUnitRows * matrices_ + column / (2 * kUnitPairs);
    values_[(matrix * kUnitRows + row % kUnitRows) * kUnitPairs + column / 2 % kUnitPairs] |=
        column % 2 == 0 ? rounded_pair(value, 0) : rounded_pair(0, value);
  }
  const BFloat16Pair *block(int64_t row) const {
    return values_.data() + row * matrices_ * kUnitPairs;
  }
  int64_t rows() const { return rows_; }
  int64_t matrices() const { return matrices_; }

private:
  int64_t rows_, matrices_;
  std::vector<BFloat16Pair> values_;
};

#if defined(__x86_64__)
/// Gives the units to a thread for as long as it lasts. As in other code for instruction sets that
/// a file is not compiled for, instructions are written out.
class MatrixUnits {
public:
  MatrixUnits() {
    Layout layout;
    for (int i = 0; i < kRegisters; ++i) {
      layout.bytes_of_row[i] = kUnitPairs * sizeof(BFloat16Pair);
      layout.rows[i] = kUnitRows;
    }
    asm volatile("ldtilecfg %0" : : "m"(layout));
  }
  ~MatrixUnits() { asm volatile("tilerelease"); }
  MatrixUnits(const MatrixUnits &) = delete;
  MatrixUnits &operator=(const MatrixUnits &) = delete;

private:
  static constexpr int kRegisters = 8;
  struct alignas(64) Layout {
    uint8_t palette = 1, first_row = 0, reserved[14] = {};
    uint16_t bytes_of_row[16] = {};
    uint8_t rows[16] = {};
  };
};

/// output[r][p] = sum over k of matrix[row + r][k] * tile[k][p] for the kUnitRows rows of the block
/// that starts at `row`.
BOTTOMUP_ALWAYS_INLINE void multiply_on_units(const PairedMatrix &matrix, int64_t row,
                                              const PairRow *tile, float (*output)[kTile]) {
  static_assert(kTile == 4 * kUnitPairs);
  constexpr int64_t row_bytes = kUnitPairs * sizeof(BFloat16Pair), tile_bytes = sizeof(PairRow);
  const BFloat16Pair *rows = matrix.block(row);
  asm volatile("tilezero %tmm0\n\ttilezero %tmm1\n\ttilezero %tmm2\n\ttilezero %tmm3");
  for (int64_t i = 0; i < matrix.matrices(); ++i) {
    asm volatile("tileloadd (%0,%2,1), %%tmm4\n\t"
                 "tileloadd (%1,%3,1), %%tmm5\n\t"
                 "tileloadd 64(%1,%3,1), %%tmm6\n\t"
                 "tdpbf16ps %%tmm5, %%tmm4, %%tmm0\n\t"
                 "tileloadd 128(%1,%3,1), %%tmm7\n\t"
                 "tdpbf16ps %%tmm6, %%tmm4, %%tmm1\n\t"
                 "tileloadd 192(%1,%3,1), %%tmm5\n\t"
                 "tdpbf16ps %%tmm7, %%tmm4, %%tmm2\n\t"
                 "tdpbf16ps %%tmm5, %%tmm4, %%tmm3"
                 :
                 : "r"(rows + i * kUnitRows * kUnitPairs), "r"(tile + i * kUnitPairs),
                   "r"(row_bytes), "r"(tile_bytes)
                 : "memory");
  }
  asm volatile("tilestored %%tmm0, (%0,%1,1)\n\t"
               "tilestored %%tmm1, 64(%0,%1,1)\n\t"
               "tilestored %%tmm2, 128(%0,%1,1)\n\t"
               "tilestored %%tmm3, 192(%0,%1,1)"
               :
               : "r"(output), "r"(tile_bytes)
               : "memory");
}
#endif

} // namespace bottomup
