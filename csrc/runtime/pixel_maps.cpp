#include "runtime/pixel_maps.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>

#include "bottomup/clustering.h"
#include "bottomup/merging.h"
#include "runtime/preprocessing.h"
#include "runtime/threads.h"
#include "runtime/tiling.h"

namespace bottomup {
namespace {

constexpr int64_t kMultiple = 32; // of the network's input
constexpr int64_t kHalo = 128;    // pixels around a tile that the network sees beside it
constexpr int64_t kKeptFeatures = int64_t{1} << 28; // up to which they are not computed twice
constexpr int64_t kModePixels = 1 << 20;            // on which modes are found
constexpr int64_t kFastModePixels = 1 << 12;        // at precision "fast"
constexpr int64_t kParallelPixels = 1 << 13;        // worth a thread

/// Memory that a thread keeps from image to image, as fresh memory costs a fault a page.
struct Scratch {
  std::vector<float> features, logits;
};

Scratch &scratch() {
  thread_local Scratch memory;
  return memory;
}

/// The network's output for the core of a tile.
struct View {
  Rectangle core;
  const float *features;      // (D, h, w), in the thread's memory or in `cropped`
  std::vector<float> cropped; // out of what the network saw
  Grid<float> foreground;     // probability; empty where the network does not tell

  FeatureView maps(int64_t dimensions) const {
    return FeatureView::planar(features, dimensions, core.height(), core.width());
  }
};

using Views = std::function<void(const std::function<void(const View &)> &visit)>;

/// The features of some pixels, one after another: (pixels, D).
void append_features(const View &view, int64_t dimensions, const std::vector<int64_t> &pixels,
                     std::vector<float> &lines) {
  const int64_t count = view.core.height() * view.core.width();
  size_t next = lines.size();
  lines.resize(next + pixels.size() * dimensions);
  for (const int64_t pixel : pixels)
    for (int64_t d = 0; d < dimensions; ++d)
      lines[next++] = view.features[d * count + pixel];
}

template <typename T> void crop(const T *from, const Tile &tile, int64_t maps, T *to) {
  const auto &[core, window] = tile;
  for (int64_t map = 0; map < maps; ++map)
    for (int64_t y = core.y0; y < core.y1; ++y) {
      const T *row =
          from + ((map * window.height() + y - window.y0) * window.width() - window.x0 + core.x0);
      to = std::copy_n(row, core.width(), to);
    }
}

Planes window_of(const Planes &image, const Rectangle &window) {
  Planes result(window.height(), window.width());
  crop(image.values.data(), {window, {0, image.height, 0, image.width}}, 3, result.values.data());
  return result;
}

class ImageMaps {
public:
  ImageMaps(const FeatureExtractor &network, const Planes &image, const ModelSettings &settings,
            bool keep_background)
      : network_(network), image_(image), clustering_(settings.clustering),
        dimensions_(settings.architecture.feature_dim),
        has_foreground_(settings.architecture.foreground), keep_background_(keep_background) {}

  PixelMaps run(int64_t tile_size) {
    PixelMaps maps = maps_of(tile_size);
    maps.network_seconds = network_seconds_;
    return maps;
  }

private:
  PixelMaps maps_of(int64_t tile_size) {
    const int64_t halo = std::max(image_.height, image_.width) <= tile_size ? 0 : kHalo;
    const std::vector<Tile> grid = tiles(image_.height, image_.width, tile_size, halo, kMultiple);
    const Views computed = [&](const auto &visit) {
      for (const Tile &tile : grid)
        visit(view_of(tile));
    };
    if (clustering_.by_region && has_foreground_ && !keep_background_)
      return grid.size() == 1 ? cluster_by_region(view_of(grid.front()))
                              : cluster_by_region(computed);
    if (grid.size() > 1 && image_.pixels() * dimensions_ > kKeptFeatures)
      return cluster_together(computed);
    std::vector<View> kept;
    for (const Tile &tile : grid)
      kept.push_back(view_of(tile));
    return cluster_together([&](const auto &visit) { std::ranges::for_each(kept, visit); });
  }

  View view_of(const Tile &tile) {
    const auto &[core, window] = tile;
    const bool whole = window.height() == image_.height && window.width() == image_.width &&
                       core.height() == image_.height && core.width() == image_.width;
    auto &[features, logits] = scratch();
    features.resize(dimensions_ * window.height() * window.width());
    logits.resize(has_foreground_ ? window.height() * window.width() : 0);
    {
      const Planes part = whole ? Planes() : window_of(image_, window);
      const auto start = std::chrono::steady_clock::now();
      network_.extract({whole ? image_.values.data() : part.values.data(), window.height(),
                        window.width(), window.y0, window.x0},
                       features.data(), has_foreground_ ? logits.data() : nullptr);
      network_seconds_ +=
          std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    }
    View view{core, features.data(), {}, {}};
    if (!whole) {
      view.cropped.resize(dimensions_ * core.height() * core.width());
      crop(features.data(), tile, dimensions_, view.cropped.data());
      view.features = view.cropped.data();
    }
    if (has_foreground_) {
      view.foreground = Grid<float>(core.height(), core.width());
      crop(logits.data(), tile, 1, view.foreground.values.data());
      float *values = view.foreground.values.data();
      library_parallel_for(
          view.foreground.size(), kParallelPixels, [&](int64_t begin, int64_t end) {
            std::transform(values + begin, values + end, values + begin, foreground_probability);
          });
    }
    return view;
  }

  /// The pixels of the core, counted in it, that are clustered.
  std::vector<int64_t> chosen_pixels(const View &view) const {
    std::vector<int64_t> pixels;
    for (int64_t pixel = 0; pixel < view.core.height() * view.core.width(); ++pixel)
      if (takes_part(view, pixel))
        pixels.push_back(pixel);
    return pixels;
  }

  /// Rows or columns of a share of the pixels.
  static std::vector<int64_t> grid_of(int64_t side, double share) {
    const auto count = static_cast<int64_t>(static_cast<double>(side) * std::sqrt(share));
    return nearest_positions(std::max<int64_t>(1, count), side);
  }

  /// The pixels of the core in these rows and columns of the image that are clustered.
  std::vector<int64_t> chosen_on(const std::vector<int64_t> &rows,
                                 const std::vector<int64_t> &columns, const View &view) const {
    const Rectangle &core = view.core;
    std::vector<int64_t> pixels;
    for (const int64_t y : rows)
      for (const int64_t x : columns)
        if (y >= core.y0 && y < core.y1 && x >= core.x0 && x < core.x1) {
          const int64_t pixel = (y - core.y0) * core.width() + x - core.x0;
          if (takes_part(view, pixel))
            pixels.push_back(pixel);
        }
    return pixels;
  }

  bool takes_part(const View &view, int64_t pixel) const {
    return !has_foreground_ || keep_background_ || is_foreground(view.foreground.values[pixel]);
  }

  bool is_foreground(float probability) const {
    return probability > static_cast<float>(clustering_.foreground_threshold);
  }

  PixelMaps empty_maps() const {
    PixelMaps maps{Grid<int32_t>(image_.height, image_.width, -1),
                   Grid<float>(image_.height, image_.width),
                   {},
                   {}};
    if (has_foreground_)
      maps.foreground = Grid<float>(image_.height, image_.width);
    return maps;
  }

  void keep_foreground(const View &view, PixelMaps &maps) const {
    if (!has_foreground_)
      return;
    const float *from = view.foreground.values.data();
    for (int64_t y = view.core.y0; y < view.core.y1; ++y, from += view.core.width())
      std::copy_n(from, view.core.width(), &(*maps.foreground)(y, view.core.x0));
  }

  /// A pixel of a core, counted in the image.
  int64_t in_image(const View &view, int64_t pixel) const {
    return (view.core.y0 + pixel / view.core.width()) * image_.width + view.core.x0 +
           pixel % view.core.width();
  }

  /// One set of modes for the whole image: found on a grid of pixels, assigned to all.
  PixelMaps cluster_together(const Views &views) const {
    ClusterOptions options = cluster_options(clustering_);
    const auto area = static_cast<double>(image_.pixels());
    const auto most = static_cast<double>(options.fast ? kFastModePixels : kModePixels);
    const std::vector<int64_t> rows = grid_of(image_.height, std::min(1.0, most / area)),
                               columns = grid_of(image_.width, std::min(1.0, most / area));
    std::vector<float> lines;
    views([&](const View &view) {
      append_features(view, dimensions_, chosen_on(rows, columns, view), lines);
    });
    const double share = static_cast<double>(rows.size() * columns.size()) / area;
    options.min_support =
        std::max<int64_t>(1, round_to_even(share * static_cast<double>(clustering_.min_support)));
    const auto count = static_cast<int64_t>(lines.size()) / dimensions_;
    PixelMaps maps = empty_maps();
    maps.modes =
        cluster(FeatureView::interleaved(lines.data(), 1, count, dimensions_), nullptr, options)
            .modes;
    const int64_t num_modes = static_cast<int64_t>(maps.modes.size()) / dimensions_;
    views([&](const View &view) {
      keep_foreground(view, maps);
      const Assignment found =
          num_modes > 0 ? assign(view.maps(dimensions_), maps.modes.data(), num_modes, options.fast)
                        : Assignment{};
      int64_t pixel = 0;
      for (int64_t y = view.core.y0; y < view.core.y1; ++y)
        for (int64_t x = view.core.x0; x < view.core.x1; ++x, ++pixel)
          if (takes_part(view, pixel)) {
            maps.index(y, x) = num_modes > 0 ? found.index[pixel] : 0;
            maps.cosine(y, x) = num_modes > 0 ? found.score[pixel] : 0;
          }
    });
    return maps;
  }

  /// Each connected piece of the foreground on its own.
  PixelMaps cluster_by_region(const View &view) const {
    PixelMaps maps = empty_maps();
    keep_foreground(view, maps);
    const LabelMap regions = regions_of(*maps.foreground);
    RegionClusters found = cluster_regions(view.maps(dimensions_), regions.values.data(),
                                           clustering_.bandwidth_deg, clustering_.min_support);
    maps.index.values = std::move(found.index);
    maps.cosine.values = std::move(found.score);
    maps.modes = std::move(found.modes);
    return maps;
  }

  /// The same of several tiles; only foreground features are kept.
  PixelMaps cluster_by_region(const Views &views) const {
    PixelMaps maps = empty_maps();
    std::vector<int64_t> pixels;
    std::vector<float> points;
    views([&](const View &view) {
      keep_foreground(view, maps);
      const std::vector<int64_t> chosen = chosen_pixels(view);
      append_features(view, dimensions_, chosen, points);
      for (const int64_t pixel : chosen)
        pixels.push_back(in_image(view, pixel));
    });
    const LabelMap region_at = regions_of(*maps.foreground);
    std::vector<int32_t> regions;
    for (const int64_t pixel : pixels)
      regions.push_back(region_at.values[pixel]);
    const auto count = static_cast<int64_t>(pixels.size());
    RegionClusters found =
        cluster_regions(FeatureView::interleaved(points.data(), 1, count, dimensions_),
                        regions.data(), clustering_.bandwidth_deg, clustering_.min_support);
    for (size_t i = 0; i < pixels.size(); ++i) {
      maps.index.values[pixels[i]] = found.index[i];
      maps.cosine.values[pixels[i]] = found.score[i];
    }
    maps.modes = std::move(found.modes);
    return maps;
  }

  /// The connected pieces of the foreground, counted from 0; -1 elsewhere.
  LabelMap regions_of(const Grid<float> &foreground) const {
    LabelMap regions(image_.height, image_.width);
    std::ranges::transform(foreground.values, regions.values.begin(),
                           [&](float probability) { return is_foreground(probability); });
    regions = split_components(regions);
    for (int32_t &region : regions.values)
      --region;
    return regions;
  }

  const FeatureExtractor &network_;
  const Planes &image_;
  const ClusteringSettings &clustering_;
  int64_t dimensions_;
  bool has_foreground_, keep_background_;
  double network_seconds_ = 0;
};

} // namespace

ClusterOptions cluster_options(const ClusteringSettings &settings) {
  ClusterOptions options;
  options.bandwidth_deg = settings.bandwidth_deg;
  options.min_support = settings.min_support;
  options.fast = settings.precision == Precision::fast;
  return options;
}

PixelMaps pixel_maps(const FeatureExtractor &network, Planes image, const ModelSettings &settings,
                     int64_t tile_size, bool keep_background) {
  normalise(image, settings.preprocessing);
  return ImageMaps(network, image, settings, keep_background).run(tile_size);
}

} // namespace bottomup
