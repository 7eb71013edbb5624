// What every part of the library hands to the others: errors and maps.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <vector>

#define BOTTOMUP_API __attribute__((visibility("default")))

namespace bottomup {

/// Bad input: one line that names the argument or the file and says why.
class BOTTOMUP_API Error : public std::runtime_error {
public:
  using std::runtime_error::runtime_error;
};

struct ImageSize {
  int64_t height = 0, width = 0;
  bool operator==(const ImageSize &) const = default;
};

/// One value a pixel, row after row.
template <typename T> struct Grid {
  int64_t height = 0, width = 0;
  std::vector<T> values;

  Grid() = default;
  Grid(int64_t rows, int64_t columns, T value = T{})
      : height(rows), width(columns), values(static_cast<size_t>(rows * columns), value) {}

  T &operator()(int64_t y, int64_t x) { return values[y * width + x]; }
  const T &operator()(int64_t y, int64_t x) const { return values[y * width + x]; }
  int64_t size() const { return height * width; }
};

/// -1 ignore, 0 background or no segment, 1..n segments.
using LabelMap = Grid<int32_t>;

} // namespace bottomup
