#include "runtime/tiling.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace bottomup {
namespace {

int64_t rounded_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

/// Start and end of each window along one side.
std::vector<std::pair<int64_t, int64_t>> spread(int64_t length, int64_t size, double overlap) {
  if (length <= size)
    return {{0, length}};
  const double step = static_cast<double>(size) * (1 - overlap);
  const auto count = static_cast<int64_t>(std::ceil(static_cast<double>(length - size) / step)) + 1;
  std::vector<std::pair<int64_t, int64_t>> result;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t start =
        round_to_even(static_cast<double>(i * (length - size)) / static_cast<double>(count - 1));
    result.emplace_back(start, start + size);
  }
  return result;
}

} // namespace

std::vector<Tile> tiles(int64_t height, int64_t width, int64_t size, int64_t halo,
                        int64_t multiple) {
  const int64_t step = rounded_up(size, multiple), margin = rounded_up(halo, multiple);
  std::vector<Tile> result;
  for (int64_t y = 0; y < height; y += step)
    for (int64_t x = 0; x < width; x += step) {
      const Rectangle core{y, std::min(height, y + step), x, std::min(width, x + step)};
      const Rectangle window{
          std::max<int64_t>(0, core.y0 - margin), std::min(height, core.y1 + margin),
          std::max<int64_t>(0, core.x0 - margin), std::min(width, core.x1 + margin)};
      result.push_back({core, window});
    }
  return result;
}

std::vector<Rectangle> windows(int64_t height, int64_t width, int64_t size, double overlap) {
  std::vector<Rectangle> result;
  for (const auto &[y0, y1] : spread(height, size, overlap))
    for (const auto &[x0, x1] : spread(width, size, overlap))
      result.push_back({y0, y1, x0, x1});
  return result;
}

int64_t round_to_even(double value) { return static_cast<int64_t>(std::nearbyint(value)); }

} // namespace bottomup
