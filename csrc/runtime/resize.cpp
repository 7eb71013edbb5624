#include "runtime/resize.h"

#include <algorithm>
#include <cmath>

#include "common/simd.h"

namespace bottomup {
namespace {

/// The pixels of a line that one of the resized line averages.
struct Taps {
  int64_t first = 0;
  std::vector<float> weights;
};

// The types of the steps are torch's, whose roundings decide the last bits.
std::vector<Taps> taps_of(int64_t input, int64_t output) {
  const float scale = static_cast<float>(input) / static_cast<float>(output);
  const auto support = static_cast<float>(scale >= 1.0f ? 1.0 * scale : 1.0);
  const auto most = static_cast<int64_t>(std::ceil(support)) * 2 + 1;
  const auto inverse = static_cast<float>(scale >= 1.0f ? 1.0 / scale : 1.0);
  std::vector<Taps> result(output);
  for (int64_t i = 0; i < output; ++i) {
    const auto centre = static_cast<float>(scale * (static_cast<double>(i) + 0.5));
    Taps &taps = result[i];
    taps.first = std::max<int64_t>(static_cast<int64_t>(centre - support + 0.5), 0);
    const int64_t end = std::min(static_cast<int64_t>(centre + support + 0.5), input);
    taps.weights.resize(std::clamp<int64_t>(end - taps.first, 0, most));
    float total = 0;
    for (size_t j = 0; j < taps.weights.size(); ++j) {
      const float place = static_cast<float>(static_cast<int64_t>(j) + taps.first) - centre;
      const auto offset = std::abs(static_cast<float>((place + 0.5) * inverse));
      taps.weights[j] = offset < 1.0f ? static_cast<float>(1.0 - offset) : 0.0f;
      total += taps.weights[j];
    }
    if (total != 0.0f)
      for (float &weight : taps.weights)
        weight /= total;
  }
  return result;
}

/// c + a b, the product rounded on its own; the compiler must not make one operation of both.
template <bool fused> BOTTOMUP_ALWAYS_INLINE float add_product(float a, float b, float c) {
  return c + (fused ? __builtin_fmaf(a, b, 0.0f) : a * b);
}

/// c + a b, rounded once where the processor can.
template <bool fused> BOTTOMUP_ALWAYS_INLINE float multiply_add(float a, float b, float c) {
  return fused ? __builtin_fmaf(a, b, c) : c + a * b;
}

/// Averages the lines that the taps say, each of `count` numbers and `step` from the next. After
/// the first, torch's loop takes four at a time, and what is left in fused operations.
template <bool fused>
BOTTOMUP_ALWAYS_INLINE void average(const float *lines, int64_t step, int64_t count,
                                    const Taps &taps, float *output) {
  const auto size = static_cast<int64_t>(taps.weights.size());
  const int64_t fours = 1 + (size - 1) / 4 * 4;
  const float *line = lines + taps.first * step;
  for (int64_t i = 0; i < count; ++i)
    output[i] = line[i] * taps.weights[0];
  for (int64_t j = 1; j < size; ++j) {
    line += step;
    const float weight = taps.weights[j];
    if (j < fours)
      for (int64_t i = 0; i < count; ++i)
        output[i] = add_product<fused>(line[i], weight, output[i]);
    else
      for (int64_t i = 0; i < count; ++i)
        output[i] = multiply_add<fused>(line[i], weight, output[i]);
  }
}

/// First along rows, then along columns.
template <bool fused>
BOTTOMUP_ALWAYS_INLINE void resize_with(const Planes &image, const std::vector<Taps> &across,
                                        const std::vector<Taps> &down, Planes &result) {
  std::vector<float> rows(image.height * result.width);
  for (int64_t plane = 0; plane < 3; ++plane) {
    const float *input = image.values.data() + plane * image.pixels();
    for (int64_t y = 0; y < image.height; ++y)
      for (int64_t x = 0; x < result.width; ++x)
        average<fused>(input + y * image.width, 1, 1, across[x], &rows[y * result.width + x]);
    float *output = result.values.data() + plane * result.pixels();
    for (int64_t y = 0; y < result.height; ++y)
      average<fused>(rows.data(), result.width, result.width, down[y], output + y * result.width);
  }
}

#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) void resize_fused(const Planes &image,
                                                      const std::vector<Taps> &across,
                                                      const std::vector<Taps> &down,
                                                      Planes &result) {
  resize_with<true>(image, across, down, result);
}

bool multiplies_and_adds_at_once() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
#else
void resize_fused(const Planes &image, const std::vector<Taps> &across,
                  const std::vector<Taps> &down, Planes &result) {
  resize_with<true>(image, across, down, result);
}

bool multiplies_and_adds_at_once() { return true; }
#endif

} // namespace

Planes resize(const Planes &image, int64_t height, int64_t width) {
  if (image.height == height && image.width == width)
    return image;
  Planes result(height, width);
  const std::vector<Taps> across = taps_of(image.width, width),
                          down = taps_of(image.height, height);
  if (multiplies_and_adds_at_once())
    resize_fused(image, across, down, result);
  else
    resize_with<false>(image, across, down, result);
  return result;
}

std::vector<int64_t> nearest_positions(int64_t size, int64_t old) {
  const auto scale = static_cast<float>(static_cast<double>(old) / static_cast<double>(size));
  std::vector<int64_t> positions(size);
  for (int64_t i = 0; i < size; ++i)
    positions[i] = std::min(static_cast<int64_t>((static_cast<float>(i) + 0.5f) * scale), old - 1);
  return positions;
}

} // namespace bottomup
