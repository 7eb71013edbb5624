// What `cluster` keeps in its workspace.
#pragma once

#include <algorithm>
#include <cstdint>

#include "common/workspace.h"
#include "contracts/cluster.h"
#include "meanshift_cuda/pack.h"
#include "meanshift_cuda/window_pass.h"

namespace bottomup {

inline constexpr int64_t kKeptModes = 1024; // of an image at most
// Seeds of a round: one tile of lines on tensor cores.
inline constexpr int64_t kSeeds = 256;
// Pixels that are compared with one another to find seeds: an entity of a thousandth of them is
// seen, and the comparison costs no more than a step of mean shift does on an image of 512 x 512.
inline constexpr int64_t kCandidates = kMostKeys;
// Rounds without a new mode after which an image is done: each differs in how near seeds may be.
inline constexpr int kBarrenRounds = 3;

/// The pixels among which a round looks for seeds.
struct Pool {
  int32_t pixels;     // all of them
  int32_t candidates; // those drawn
};

struct ImageState {
  int32_t barren_rounds;
};

template <typename Packed> struct Candidates {
  int64_t rows;
  Pool *pools;        // (B)
  int32_t *pixels;    // (B, rows), each with a candidate:
  Packed *packed;     // (B, rows, padded)
  float *lines;       // the same
  int32_t *absent;    // (B, rows)
  int32_t *densities; // candidates in its window
  uint32_t *best;     // the largest key near it
};

/// The modes kept so far, those of most support first, and behind them the lines of a round.
struct ModeTable {
  LineTable lines;
  int64_t rows, kept_rows, fresh_rows; // rows is the sum of the others
  int32_t *absent;                     // (B, rows)
  int32_t *num_kept, *num_fresh;       // (B)
};

template <typename Packed> struct ClusterBuffers {
  ClusterBuffers(const ClusterProblem &problem, void *memory) : workspace(memory) {
    const int64_t batch = problem.features.batch, pixels = problem.features.pixels;
    const int64_t padded = padded_dimensions(problem.features.dimensions);
    lines.rows = round_up(pixels, kPackedPixels);
    lines.padded = padded;
    lines.values = workspace.take<Packed>(batch * lines.rows * padded);
    words = lines.rows / kWordPixels;
    lines.has_line = workspace.take<uint32_t>(batch * words);
    uncovered = workspace.take<uint32_t>(batch * words);

    candidates.rows = std::min(kCandidates, lines.rows);
    const int64_t all_candidates = batch * candidates.rows;
    candidates.pools = workspace.take<Pool>(batch);
    candidates.pixels = workspace.take<int32_t>(all_candidates);
    candidates.packed = workspace.take<Packed>(all_candidates * padded);
    candidates.lines = workspace.take<float>(all_candidates * padded);
    candidates.absent = workspace.take<int32_t>(all_candidates);
    candidates.densities = workspace.take<int32_t>(all_candidates);
    candidates.best = workspace.take<uint32_t>(all_candidates);

    state = workspace.take<ImageState>(batch);
    for (ModeTable &table : tables) {
      table.kept_rows = std::min(kKeptModes, pixels);
      table.fresh_rows = std::min(kSeeds, pixels);
      table.rows = table.kept_rows + table.fresh_rows;
      table.lines.rows = table.rows;
      table.lines.values = workspace.take<float>(batch * table.rows * padded);
      table.lines.support = workspace.take<int32_t>(batch * table.rows);
      table.absent = workspace.take<int32_t>(batch * table.rows);
      table.num_kept = workspace.take<int32_t>(batch);
      table.num_fresh = workspace.take<int32_t>(batch);
    }
    const ModeTable &table = tables[0];
    for (int32_t *&flags : resting)
      flags = workspace.take<int32_t>(batch * table.rows);
    overlap_words = tiles_of(table.rows, kWordPixels);
    overlaps = workspace.take<uint32_t>(batch * table.rows * overlap_words);
    sums = workspace.take<float>(batch * std::max(sums_of<Packed>(padded, table.kept_rows, 0),
                                                  sums_of<Packed>(padded, table.fresh_rows, 0)));
    first_pixels = workspace.take<int32_t>(batch * table.kept_rows);
    numbers = workspace.take<int32_t>(batch * table.kept_rows);
  }

  static constexpr int64_t kWordPixels = 32; // bits

  Workspace workspace;
  PackedLines<Packed> lines;
  int64_t words;       // of the bits of an image's pixels
  uint32_t *uncovered; // (B, words), in no window of a kept mode
  Candidates<Packed> candidates;
  ImageState *state; // (B)
  ModeTable tables[2];
  int32_t *resting[2]; // (B, table rows), of this step and the next
  int64_t overlap_words;
  uint32_t *overlaps; // (B, table rows, overlap_words)
  float *sums;
  int32_t *first_pixels, *numbers; // (B, kept_rows)
};

} // namespace bottomup
