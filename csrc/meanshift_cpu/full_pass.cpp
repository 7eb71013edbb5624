#include "meanshift_cpu/full_pass.h"

#include <algorithm>
#include <cmath>

#include "common/dispatch.h"
#include "meanshift_cpu/chunk_pass.h"
#include "meanshift_cpu/climbing.h"

namespace bottomup {
namespace {

constexpr int64_t kChunks = 32;      // parts of an image whose sums are added in order
constexpr int64_t kUncovered = 8192; // pixels set aside at most, in all chunks
constexpr double kSlack = 1e-3;      // radians, far above the rounding of an angle

template <typename Products> ModeTable<Products> table_of(const FullPass &pass, Simd simd) {
  const int64_t count = pass.modes.count();
  ModeTable<Products> table{pack<Products>(pass.modes), std::vector<float>(count)};
  if (count <= kFewModes)
    return table;
  const std::vector<float> similarity = similarities(pass.modes, pass.modes, simd);
  for (int64_t i = 0; i < count; ++i) {
    float nearest = 0;
    for (int64_t j = 0; j < count; ++j)
      if (j != i)
        nearest = std::max(nearest, similarity[i * count + j]);
    // A pixel this near to a mode is, by the triangle inequality, nearer to it than to any other,
    // and in no other window.
    const double apart = std::acos(std::min(nearest, 1.0f));
    const double angle = std::min(apart / 2, apart - pass.window.bandwidth) - kSlack;
    table.settled[i] = angle > 0 ? static_cast<float>(std::cos(angle)) : 2.0f;
  }
  return table;
}

template <typename T, typename Products> struct RunChunks {
  template <int lanes>
  static BOTTOMUP_ALWAYS_INLINE void run(const FullPass &pass, const ModeTable<Products> &table,
                                         int64_t pixels_of_chunk, int64_t begin, int64_t end,
                                         ChunkResult *chunks) {
    ChunkPass<T, Products, lanes> chunk_pass(pass, table);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i * pixels_of_chunk;
      chunks[i].finite =
          chunk_pass.run(first, std::min(first + pixels_of_chunk, pass.features.pixels), chunks[i]);
    }
  }
};

/// Adds up the chunks in order and moves the modes.
void finish_step(const FullPass &pass, const std::vector<ChunkResult> &chunks, PassResult &result) {
  const int64_t dimensions = pass.modes.dimensions;
  std::vector<double> sum(dimensions);
  for (int64_t mode = 0; mode < pass.modes.count(); ++mode) {
    std::ranges::fill(sum, 0.0);
    for (const ChunkResult &chunk : chunks) {
      result.moved.support[mode] += static_cast<double>(chunk.support[mode]);
      for (int64_t d = 0; d < dimensions; ++d)
        sum[d] += chunk.sums[mode * dimensions + d];
    }
    result.largest_move = std::max(result.largest_move,
                                   move_line(result.moved.lines.row(mode), sum.data(), dimensions));
  }
}

} // namespace

PassResult run_full_pass(const FullPass &pass, Simd simd, const ParallelFor &parallel_for) {
  const int64_t dimensions = pass.modes.dimensions, count = pass.modes.count();
  const int64_t tiles = ceil_div(pass.features.pixels, kTile);
  const int64_t tiles_of_chunk = std::max<int64_t>(1, ceil_div(tiles, kChunks));
  std::vector<ChunkResult> chunks(ceil_div(tiles, tiles_of_chunk),
                                  ChunkResult(dimensions, count, kUncovered / kChunks));
  const auto run_chunks = [&]<typename Products>() {
    const ModeTable<Products> table = table_of<Products>(pass, simd);
    const auto run = for_type<With<RunChunks, Products>::template Typed>(pass.features.type, simd);
    parallel_for(static_cast<int64_t>(chunks.size()), 1, [&](int64_t begin, int64_t end) {
      run(pass, table, tiles_of_chunk * kTile, begin, end, chunks.data());
    });
  };
  if (has_pairs(simd, pass.fast))
    run_chunks.operator()<BFloat16Products>();
  else
    run_chunks.operator()<Float32Products>();

  PassResult result{std::ranges::all_of(chunks, &ChunkResult::finite), Modes(dimensions), 0, {}, 0};
  result.moved.lines = pass.modes;
  result.moved.support.resize(count);
  if (!result.finite || !pass.step)
    return result;
  finish_step(pass, chunks, result);
  for (ChunkResult &chunk : chunks)
    if (chunk.uncovered.seen > 0) {
      result.num_uncovered += chunk.uncovered.seen;
      const auto weight = static_cast<float>(static_cast<double>(chunk.uncovered.seen) /
                                             static_cast<double>(chunk.uncovered.lines.count()));
      result.uncovered.push_back({std::move(chunk.uncovered.lines), weight});
    }
  return result;
}

} // namespace bottomup
