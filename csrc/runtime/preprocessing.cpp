#include "runtime/preprocessing.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

namespace bottomup {
namespace {

constexpr int64_t kMostPixels = int64_t{1} << 28;
constexpr double kPercentileSamples = 1 << 20;

void check(const ImageView &image) {
  if (image.bits != 8 && image.bits != 16)
    throw Error("image: expected 8 or 16 bits, got " + std::to_string(image.bits));
  if (image.channels != 1 && image.channels != 3 && image.channels != 4)
    throw Error("image: expected 1, 3 or 4 channels, got " + std::to_string(image.channels));
  if (!image.data || image.height < 1 || image.width < 1)
    throw Error("image: zero-size image, shape (" + std::to_string(image.height) + ", " +
                std::to_string(image.width) + ")");
  if (image.width > kMostPixels / image.height)
    throw Error("image: more than " + std::to_string(kMostPixels) + " pixels");
}

template <typename T> class Pixels {
public:
  explicit Pixels(const ImageView &image) : image_(image) {}

  T operator()(int64_t pixel, int64_t channel) const {
    const int64_t stored = image_.channels == 1 ? 0 : channel;
    return static_cast<const T *>(image_.data)[pixel * image_.channels + stored];
  }

  /// Which numbers are mapped to 0 and 1.
  std::pair<double, double> range(const PreprocessingSettings &settings) const {
    std::vector<int64_t> counts(int64_t{std::numeric_limits<T>::max()} + 1);
    const auto stride = static_cast<int64_t>(std::ceil(
        std::sqrt(static_cast<double>(image_.height * image_.width) / kPercentileSamples)));
    for (int64_t y = 0; y < image_.height; y += stride)
      for (int64_t x = 0; x < image_.width; x += stride)
        for (int64_t channel = 0; channel < 3; ++channel)
          ++counts[(*this)(y * image_.width + x, channel)];
    const double dark = percentile(counts, settings.low_percentile);
    const double bright = percentile(counts, settings.high_percentile);
    if (dark != bright)
      return {dark, bright};
    T lowest = std::numeric_limits<T>::max(), highest = 0;
    for (int64_t pixel = 0; pixel < image_.height * image_.width; ++pixel)
      for (int64_t channel = 0; channel < 3; ++channel) {
        lowest = std::min(lowest, (*this)(pixel, channel));
        highest = std::max(highest, (*this)(pixel, channel));
      }
    return {lowest, highest};
  }

private:
  /// Interpolated as numpy does, to the last bit.
  static double percentile(const std::vector<int64_t> &counts, double percent) {
    int64_t total = 0;
    for (const int64_t count : counts)
      total += count;
    const double place = static_cast<double>(total - 1) * (percent / 100);
    const auto before = std::min(static_cast<int64_t>(std::floor(place)), total - 1);
    const double low = value_at(counts, before);
    const double step = value_at(counts, std::min(before + 1, total - 1)) - low;
    const double part = place - static_cast<double>(before);
    return part >= 0.5 ? low + step - step * (1 - part) : low + step * part;
  }

  static double value_at(const std::vector<int64_t> &counts, int64_t place) {
    size_t value = 0;
    while (place >= counts[value])
      place -= counts[value++];
    return static_cast<double>(value);
  }

  const ImageView &image_;
};

template <typename T>
Planes to_unit_range_of(const ImageView &image, const PreprocessingSettings &settings) {
  const Pixels<T> pixels(image);
  const bool stretch = settings.normalisation == Normalisation::percentile;
  const auto [dark, bright] =
      stretch ? pixels.range(settings) : std::pair(0.0, double{std::numeric_limits<T>::max()});
  const auto offset = static_cast<float>(dark), scale = static_cast<float>(bright - dark);
  Planes unit(image.height, image.width);
  for (int64_t channel = 0; channel < 3; ++channel)
    for (int64_t pixel = 0; pixel < unit.pixels(); ++pixel) {
      float value = static_cast<float>(pixels(pixel, channel)) - offset;
      if (dark < bright)
        value /= scale;
      unit.values[channel * unit.pixels() + pixel] = std::clamp(value, 0.0f, 1.0f);
    }
  return unit;
}

} // namespace

Planes to_unit_range(const ImageView &image, const PreprocessingSettings &settings) {
  check(image);
  return image.bits == 8 ? to_unit_range_of<uint8_t>(image, settings)
                         : to_unit_range_of<uint16_t>(image, settings);
}

void normalise(Planes &image, const PreprocessingSettings &settings) {
  for (int64_t channel = 0; channel < 3; ++channel) {
    const auto mean = static_cast<float>(settings.mean[channel]);
    const auto deviation = static_cast<float>(settings.std[channel]);
    float *values = image.values.data() + channel * image.pixels();
    for (int64_t pixel = 0; pixel < image.pixels(); ++pixel)
      values[pixel] = (values[pixel] - mean) / deviation;
  }
}

} // namespace bottomup
