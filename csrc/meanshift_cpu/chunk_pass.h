// The full pass over one part of an image.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "meanshift_cpu/candidates.h"
#include "meanshift_cpu/full_pass.h"

namespace bottomup {

inline constexpr int64_t kFewModes = 2 * kModes;    // not worth looking at some first
inline constexpr int64_t kFewUnsettled = kTile / 4; // of a tile that is not assigned as a whole

/// The modes as the tiles need them.
template <typename Products> struct ModeTable {
  typename Products::Matrix packed;
  std::vector<float> settled; // |cos| from which a pixel of the mode need not look at others
};

/// Evenly spaced ones of a stream of pixels whose length is not known.
struct Reservoir {
  Reservoir(int64_t dimensions, int64_t capacity) : lines(dimensions), capacity(capacity) {}

  void add(const Row *tile, int64_t p, float scale) {
    if (seen++ % stride != 0)
      return;
    if (lines.count() == capacity) {
      for (int64_t i = 0; 2 * i < capacity; ++i)
        std::copy_n(lines.row(2 * i), lines.dimensions, lines.row(i));
      lines.values.resize((capacity + 1) / 2 * lines.dimensions);
      stride *= 2;
      if ((seen - 1) % stride != 0)
        return;
    }
    lines.values.resize(lines.values.size() + lines.dimensions);
    float *line = lines.row(lines.count() - 1);
    for (int64_t d = 0; d < lines.dimensions; ++d)
      line[d] = tile[d].pixel[p] * scale;
  }

  Lines lines;
  int64_t capacity, seen = 0, stride = 1;
};

struct ChunkResult {
  ChunkResult(int64_t dimensions, int64_t modes, int64_t most_uncovered)
      : sums(modes * dimensions), support(modes), uncovered(dimensions, most_uncovered) {}

  bool finite = true;
  std::vector<float> sums;      // (modes, D)
  std::vector<int64_t> support; // (modes)
  Reservoir uncovered;
};

/// A tile of pixels to be assigned.
struct Pixels {
  explicit Pixels(int64_t dimensions) : rows(dimensions) {}

  std::vector<Row> rows;
  float inverse_norm[kTile] = {};
  int32_t takes_part[kTile] = {};
  int32_t number[kTile] = {}; // in the image
};

template <typename T, typename Products, int lanes> class ChunkPass {
public:
  BOTTOMUP_ALWAYS_INLINE ChunkPass(const FullPass &pass, const ModeTable<Products> &table)
      : pass_(pass), table_(table), dimensions_(pass.features.dimensions), tile_(dimensions_),
        unsettled_(dimensions_), candidates_(dimensions_) {
    std::fill_n(unsettled_.inverse_norm, kTile, 1.0f);
    if (pass.step)
      lane_sums_.resize(pass.modes.count() * dimensions_ * lanes);
  }

  /// False if a feature of the pixels [begin, end) is NaN or Inf.
  BOTTOMUP_ALWAYS_INLINE bool run(int64_t begin, int64_t end, ChunkResult &result) {
    const int64_t pixels = pass_.features.pixels;
    result_ = &result;
    candidates_.count = 0;
    for (int64_t first = begin; first < end; first += kTile) {
      const int64_t count = std::min(kTile, pixels - first);
      // An earlier pass has looked here, or this one at the row above or the tile before.
      const int64_t back = first - pass_.width >= begin ? std::max(pass_.width, kTile) : kTile;
      const bool hints = table_.packed.rows() > kFewModes && (pass_.hinted || first > begin);
      if (hints && count == kTile)
        candidates_.choose(pass_.index + first - (pass_.hinted ? 0 : back), pass_.modes);
      const bool look_near = hints && candidates_.count > 0;
      load_tile<T>(pass_.features, pass_.image, first, count, tile_.rows.data());
      if (!inverse_norms(dimensions_, tile_.rows.data(), tile_.inverse_norm))
        return false;
      for (int64_t p = 0; p < kTile; ++p) {
        tile_.number[p] = static_cast<int32_t>(first + p);
        tile_.takes_part[p] = p < count && (!pass_.mask || pass_.mask[first + p]);
      }
      for (int64_t p = 0; p < count; ++p)
        if (!tile_.takes_part[p]) {
          // Where an earlier pass has left its hint, it says so already.
          pass_.index[first + p] = kLeftOut;
          pass_.score[first + p] = 0;
        }
      const bool near = look_near && assign_near();
      const bool full = num_unsettled_ > kTile - kFewUnsettled || first + kTile >= end;
      // One place, so that the body of `assign` is inlined once.
      for (const Pixels *pixels : {near ? nullptr : &tile_, full ? &unsettled_ : nullptr})
        if (pixels)
          assign(*pixels);
      if (full) {
        std::fill_n(unsettled_.takes_part, kTile, false);
        num_unsettled_ = 0;
      }
    }
    for (int64_t mode = 0; pass_.step && mode < pass_.modes.count(); ++mode)
      if (result.support[mode] > 0) {
        float *sums = lane_sums_.data() + mode * dimensions_ * lanes;
        add_lanes<lanes>(dimensions_, sums, result.sums.data() + mode * dimensions_);
        std::fill_n(sums, dimensions_ * lanes, 0.0f);
      }
    return true;
  }

private:
  /// Assigns the pixels of the tile that candidates settle and sets the others aside; false if
  /// those are so many that the tile had better be assigned as it is.
  BOTTOMUP_ALWAYS_INLINE bool assign_near() {
    float products[kModes][kTile];
    const Row *rows = tile_.rows.data();
    if (candidates_.count <= 2)
      multiply<lanes, 2, 4>(candidates_.packed, 0, rows, products);
    else
      multiply<lanes>(candidates_.packed, 0, rows, products);
    int32_t nearest[kTile];
    float largest[kTile] = {};
    int32_t settled[kTile] = {};
    std::fill_n(nearest, kTile, kNoLine);
    for (int64_t j = 0; j < candidates_.count; ++j) {
      const float enough = table_.settled[candidates_.modes[j]];
      for (int64_t p = 0; p < kTile; ++p) {
        const float cosine = std::abs(products[j][p]) * tile_.inverse_norm[p];
        settled[p] |= cosine >= enough;
        nearest[p] = cosine > largest[p] ? candidates_.modes[j] : nearest[p];
        largest[p] = std::max(largest[p], cosine);
      }
    }
    int64_t aside = 0;
    for (int64_t p = 0; p < kTile; ++p)
      aside += tile_.takes_part[p] & (settled[p] ^ 1);
    if (aside > kFewUnsettled)
      return false;
    int32_t takes_part[kTile];
    for (int64_t p = 0; p < kTile; ++p)
      takes_part[p] = tile_.takes_part[p] & settled[p];
    if (pass_.step)
      for (int64_t j = 0; j < candidates_.count; ++j)
        add_window(tile_, takes_part, products[j], candidates_.modes[j]);
    write(tile_, takes_part, nearest, largest);
    for (int64_t p = 0; aside > 0 && p < kTile; ++p)
      if (tile_.takes_part[p] && !settled[p]) {
        set_aside(p);
        // Until it is assigned, a hint for the next tile.
        pass_.index[tile_.number[p]] = nearest[p];
        --aside;
      }
    return true;
  }

  BOTTOMUP_ALWAYS_INLINE void set_aside(int64_t p) {
    const float scale = tile_.inverse_norm[p];
    for (int64_t d = 0; d < dimensions_; ++d)
      unsettled_.rows[d].pixel[num_unsettled_] = tile_.rows[d].pixel[p] * scale;
    unsettled_.takes_part[num_unsettled_] = true;
    unsettled_.number[num_unsettled_++] = tile_.number[p];
  }

  /// Compares the pixels with all modes.
  BOTTOMUP_ALWAYS_INLINE void assign(const Pixels &pixels) {
    int32_t nearest[kTile];
    float largest[kTile] = {};
    std::fill_n(nearest, kTile, kNoLine);
    const typename Products::Input *input = Products::prepare(dimensions_, pixels.rows, pairs_);
    for (int64_t first = 0; first < table_.packed.rows(); first += Products::kLines) {
      float products[Products::kLines][kTile];
      Products::template multiply<lanes>(table_.packed, first, input, products);
      const int64_t count = std::min(Products::kLines, table_.packed.rows() - first);
      for (int64_t j = 0; j < count; ++j) {
        int32_t inside = 0;
        for (int64_t p = 0; p < kTile; ++p) {
          const float cosine = std::abs(products[j][p]) * pixels.inverse_norm[p];
          nearest[p] = cosine > largest[p] ? static_cast<int32_t>(first + j) : nearest[p];
          largest[p] = std::max(largest[p], cosine);
          inside |= cosine >= pass_.window.cosine;
        }
        if (pass_.step && inside)
          add_window(pixels, pixels.takes_part, products[j], first + j);
      }
    }
    write(pixels, pixels.takes_part, nearest, largest);
  }

  /// Adds the step and the support of one mode; turns its products into the weights of the pixels.
  BOTTOMUP_ALWAYS_INLINE void add_window(const Pixels &pixels, const int32_t *takes_part,
                                         float *products, int64_t mode) {
    const float window = pass_.window.cosine;
    int32_t support = 0;
    for (int64_t p = 0; p < kTile; ++p) {
      const float scaled = products[p] * pixels.inverse_norm[p];
      const int32_t inside = (std::abs(scaled) >= window) & takes_part[p];
      support += inside;
      products[p] = inside ? scaled * pixels.inverse_norm[p] : 0;
    }
    if (support == 0)
      return;
    result_->support[mode] += support;
    accumulate<lanes>(dimensions_, pixels.rows.data(), products,
                      lane_sums_.data() + mode * dimensions_ * lanes);
  }

  BOTTOMUP_ALWAYS_INLINE void write(const Pixels &pixels, const int32_t *takes_part,
                                    const int32_t *nearest, const float *largest) {
    for (int64_t p = 0; p < kTile; ++p)
      if (takes_part[p]) {
        pass_.index[pixels.number[p]] = nearest[p];
        pass_.score[pixels.number[p]] = std::min(largest[p], 1.0f);
        if (pass_.step && largest[p] < pass_.window.cosine && nearest[p] != kNoLine)
          result_->uncovered.add(pixels.rows.data(), p, pixels.inverse_norm[p]);
      }
  }

  const FullPass &pass_;
  const ModeTable<Products> &table_;
  ChunkResult *result_ = nullptr;
  int64_t dimensions_;
  Pixels tile_, unsettled_;
  int64_t num_unsettled_ = 0;
  Candidates candidates_;
  [[maybe_unused]] typename Products::Session session_;
  std::vector<PairRow> pairs_;   // of a tile, if the products take them
  std::vector<float> lane_sums_; // (modes, D, lanes)
};

} // namespace bottomup
