// Cutting an image into windows: tiles that bound memory, patches of the finer resolutions.
#pragma once

#include <cstdint>
#include <vector>

namespace bottomup {

/// Rows [y0, y1) and columns [x0, x1).
struct Rectangle {
  int64_t y0, y1, x0, x1;
  int64_t height() const { return y1 - y0; }
  int64_t width() const { return x1 - x0; }
};

/// A core of an image and the window around it that the network sees. The cores of all tiles
/// partition the image.
struct Tile {
  Rectangle core, window;
};

/// Tiles in raster order, cores of `size` rounded up to a grid of `multiple` that all window
/// corners are on, too.
std::vector<Tile> tiles(int64_t height, int64_t width, int64_t size, int64_t halo,
                        int64_t multiple);

/// Equal square windows in raster order that cover an image, evenly spread; neighbours overlap by
/// at least the fraction `overlap` of `size`. Sides below `size` are covered whole.
std::vector<Rectangle> windows(int64_t height, int64_t width, int64_t size, double overlap);

/// To the nearest, ties to even, as Python's round.
int64_t round_to_even(double value);

} // namespace bottomup
