// One look at all pixels through the windows of many lines (equation 10).
//
// The table of lines x pixels exists on chip only, a tile at a time.
#pragma once

#include <algorithm>
#include <cstdint>

#include "common/data_type.h"
#include "common/launch.h"
#include "meanshift_cuda/tiling.h"

namespace bottomup {

enum class Pass {
  step,  // the sums of (m . x) x over the windows
  count, // the pixels in them
  best   // the largest key of a pixel in them
};

/// Keys of pixels: the denser, then the earlier one is larger.
inline constexpr int kKeyBits = 12;
inline constexpr int kMostKeys = 1 << kKeyBits;

BOTTOMUP_HOST_DEVICE inline uint32_t key_of(int32_t density, int pixel) {
  return (static_cast<uint32_t>(density) << kKeyBits) +
         static_cast<uint32_t>(kMostKeys - 1 - pixel);
}

/// How lines and pixels are cut into tiles.
struct PassTiling {
  int lines;      // of a tile
  int warp_lines; // that one warp holds
  int pixels;     // of a tile
  int resident;   // blocks that a multiprocessor holds

  /// Where a tile has few lines, this many groups of warps hold them all and share the pixels.
  BOTTOMUP_HOST_DEVICE int groups(int used_lines) const {
    const int apart = lines / warp_lines, needed = (used_lines + warp_lines - 1) / warp_lines;
    int groups = 1;
    while (2 * groups * needed <= apart && 2 * groups * 16 <= pixels)
      groups *= 2;
    return groups;
  }
};

/// What one block does: a tile of lines and a part of the pixel tiles.
struct Share {
  int line_tile;
  int parts;       // of the pixels, that are not empty
  int first, last; // pixel tiles; none if this block has nothing to do
};

/// Blocks that share a line tile. With `fixed_parts` they are so many however many lines there are.
BOTTOMUP_HOST_DEVICE inline int blocks_of_line_tile(int blocks, int fixed_parts, int active,
                                                    const PassTiling &tiling) {
  return fixed_parts > 0 ? fixed_parts : blocks / ((active + tiling.lines - 1) / tiling.lines);
}

/// The blocks of an image share out the work for `active` lines, at least one.
BOTTOMUP_HOST_DEVICE inline Share share_of(int block, int blocks, int fixed_parts, int active,
                                           const PassTiling &tiling, int64_t rows) {
  const int parts = blocks_of_line_tile(blocks, fixed_parts, active, tiling);
  const int pixel_tiles = static_cast<int>(rows / tiling.pixels);
  const int size = (pixel_tiles + parts - 1) / parts;
  const int line_tile = block / parts, first = block % parts * size;
  const bool idle = line_tile * tiling.lines >= active || first >= pixel_tiles;
  const int last = first + size < pixel_tiles ? first + size : pixel_tiles;
  return {line_tile, (pixel_tiles + size - 1) / size, first, idle ? first : last};
}

/// Lines of all images, the rows of tables.
struct LineTable {
  float *values;    // (B, rows, padded)
  int64_t rows;     // of one image
  int32_t *support; // (B, rows)
};

template <typename Packed> struct WindowPass {
  const Packed *pixels; // (B, pixel_rows, padded)
  int64_t pixel_rows;   // of one image, a multiple of kPackedPixels
  int padded;
  LineTable lines;
  int first_line, num_lines; // the rows looked at
  const int32_t *resting;    // (B, rows), not zero: left out
  float window;              // cosine
  int fixed_parts;

  float *sums;              // (B, blocks, lines of a tile, padded), for Pass::step
  const int32_t *densities; // (B, pixel_rows), and
  uint32_t *best;           // (B, rows), zero before, for Pass::best
};

/// The tiles for packed lines of a type and size.
template <typename Packed> PassTiling tiling_of(int64_t padded);

/// Blocks that share an image: as many as the device runs at a time, but one for each line tile.
template <typename Packed> int blocks_of(int64_t padded, int64_t num_lines, int fixed_parts) {
  const PassTiling tiling = tiling_of<Packed>(padded);
  const int64_t tiles = tiles_of(num_lines, tiling.lines);
  const int64_t held =
      std::max(1, device_attribute(cudaDevAttrMultiProcessorCount)) * tiling.resident;
  return static_cast<int>(fixed_parts > 0 ? tiles * fixed_parts : std::max(tiles, held));
}

/// Numbers of `sums` that `blocks_of` blocks need for an image.
template <typename Packed> int64_t sums_of(int64_t padded, int64_t num_lines, int fixed_parts) {
  return int64_t{blocks_of<Packed>(padded, num_lines, fixed_parts)} *
         tiling_of<Packed>(padded).lines * padded;
}

template <Pass pass, typename Packed>
void look_through_windows(Launcher &run, int64_t images, const WindowPass<Packed> &task);

/// Moves each line that does not rest by the sums of Pass::step, and tells in `rests` which rest
/// now: those that moved no further than `tolerance`.
template <typename Packed>
void move_lines(Launcher &run, int64_t images, const WindowPass<Packed> &task, double tolerance,
                int32_t *rests);

} // namespace bottomup
