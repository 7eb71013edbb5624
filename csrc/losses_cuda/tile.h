// The part of an image that a block of the fused pass works on, and the pixels around it that it
// compares with.
#pragma once

#include <cstdint>

#include "common/host_device.h"
#include "losses_cuda/image_lines.h"

namespace bottomup {

struct Place {
  int32_t y, x; // relative to the tile's first pixel
};

/// A rectangle of pixels whose sides, and whose place in the image, are multiples of 8, so that it
/// begins on the grid of every scale. Its neighbours at scale k are 2^k away on the grid of 2^k:
/// of the left and upper ones a row of pixels for each scale, of the right and lower ones a single
/// row, since every grid has its next point there.
///
/// Stations are what the tile keeps numbers of: its own pixels in raster order, then its
/// neighbours: those above and below, where four of them are read at once, then those to the right,
/// then those to the left row by row, since all of a row lie in one sector of memory.
struct Tile {
  int32_t height, width;

  BOTTOMUP_HOST_DEVICE int pixels() const { return height * width; }
  BOTTOMUP_HOST_DEVICE int neighbours() const { return (height + width) * 23 / 8; }
  BOTTOMUP_HOST_DEVICE int stations() const { return pixels() + (neighbours() + 3) / 4 * 4; }

  BOTTOMUP_HOST_DEVICE int below() const { return pixels() + width; }
  BOTTOMUP_HOST_DEVICE int above(int scale) const {
    return scale == 0 ? pixels() : pixels() + 2 * width + halves(width, scale);
  }
  BOTTOMUP_HOST_DEVICE int right() const { return pixels() + width * 23 / 8; }
  BOTTOMUP_HOST_DEVICE int left(int y, int scale) const {
    return right() + height + y / 8 * kLeftOfBand + left_before(y % 8) + scale;
  }

  /// Where neighbour `index` (0, 1, ...) lies.
  BOTTOMUP_HOST_DEVICE Place neighbour(int index) const {
    if (index < width)
      return {-1, index};
    index -= width;
    if (index < width)
      return {height, index};
    index -= width;
    for (int scale = 1; scale < kScales; ++scale) {
      if (index < width >> scale)
        return {-(1 << scale), index << scale};
      index -= width >> scale;
    }
    if (index < height)
      return {index, width};
    index -= height;
    int row = 7;
    while (left_before(row) > index % kLeftOfBand)
      --row;
    return {index / kLeftOfBand * 8 + row, -(1 << (index % kLeftOfBand - left_before(row)))};
  }

  /// The station one step of a scale away in direction 0 left, 1 up, 2 right, 3 down, of a pixel on
  /// the scale's grid.
  BOTTOMUP_HOST_DEVICE int beside(Place place, int scale, int direction) const {
    const int step = 1 << scale, own = place.y * width + place.x;
    switch (direction) {
    case 0:
      return place.x >= step ? own - step : left(place.y, scale);
    case 1:
      return place.y >= step ? own - step * width : above(scale) + (place.x >> scale);
    case 2:
      return place.x + step < width ? own + step : right() + place.y;
    default:
      return place.y + step < height ? own + step * width : below() + place.x;
    }
  }

private:
  static constexpr int kLeftOfBand = 15; // neighbours to the left of 8 rows: 4 1 2 1 3 1 2 1

  /// Those of the rows of a band before `row`.
  BOTTOMUP_HOST_DEVICE static int left_before(int row) {
    return row == 0 ? 0 : 2 * row + 2 - ((row - 1) % 2 + (row - 1) / 2 % 2 + (row - 1) / 4);
  }

  /// size / 2 + size / 4 + ... before that of `scale`.
  BOTTOMUP_HOST_DEVICE static int halves(int size, int scale) {
    return size - (size >> (scale - 1));
  }
};

} // namespace bottomup
