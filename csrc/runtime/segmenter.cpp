#include "bottomup/segmenter.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <numbers>
#include <string>

#include "bottomup/merging.h"
#include "merging/label_maps.h"
#include "merging/pieces.h"
#include "runtime/preprocessing.h"
#include "runtime/tiling.h"
#include "runtime/view_maps.h"

namespace bottomup {
namespace {

constexpr double kLargestStep = 2.0;     // factor between looks at an image, for its objects' size
constexpr double kLargestZoom = 8.0;     // times the first look's, to enlarge small objects, and
constexpr double kLargestLook = 1 << 20; // pixels that a look beyond the searched zoom may have
constexpr double kSearchedZoom = 4.0;    // up to which objects are sought while there are none
constexpr double kGrowingZoom = 2.0;     // beyond which they must grow: texture hardly does
constexpr double kGrowth = 0.4;          // power of an enlargement by which they must grow at least
constexpr double kClose = 1.2;           // factor within which objects have the wanted size
constexpr double kNearlyClose = 1.35;    // the same at the searched zoom and beyond
constexpr double kMostZoom = 4.0;        // towards a wanted object diameter, either way

Planes resized(const Planes &image, double zoom) {
  const auto side = [&](int64_t length) {
    return std::max<int64_t>(1, round_to_even(static_cast<double>(length) * zoom));
  };
  return resize(image, side(image.height), side(image.width));
}

PixelMaps resized(const PixelMaps &maps, int64_t height, int64_t width) {
  PixelMaps result{resize_nearest(maps.index, height, width),
                   resize_nearest(maps.cosine, height, width),
                   {},
                   maps.modes};
  if (maps.foreground)
    result.foreground = resize_nearest(*maps.foreground, height, width);
  return result;
}

/// Zoom that gives the median segment the diameter of a disc of its area; 1 without segments.
/// Specks do not count: segments of less than an eighth of the area of the one that the median
/// pixel belongs to.
double zoom_to_diameter(const LabelMap &labels, double diameter) {
  std::vector<int64_t> areas = label_areas(labels);
  const int64_t total = labels.size() - areas[0];
  areas[0] = 0;
  std::erase(areas, 0);
  std::ranges::sort(areas);
  if (areas.empty())
    return 1.0;
  int64_t below = 0;
  size_t typical = 0;
  while (2 * (below += areas[typical]) < total)
    ++typical;
  std::erase_if(areas, [largest = areas[typical]](int64_t area) { return 8 * area < largest; });
  const size_t middle = areas.size() / 2;
  const auto upper = static_cast<double>(areas[middle]);
  const double median =
      areas.size() % 2 == 1 ? upper : (static_cast<double>(areas[middle - 1]) + upper) / 2;
  return std::clamp(diameter / std::sqrt(4 / std::numbers::pi * median), 1 / kMostZoom, kMostZoom);
}

/// What `work` gives, and adds the seconds that it takes.
template <typename Work> auto timed(double &seconds, const Work &work) {
  const auto start = std::chrono::steady_clock::now();
  auto result = work();
  seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

/// One image on its way.
class Run {
public:
  Run(const ModelSettings &settings, const FeatureExtractor &network,
      const SegmenterOptions &options, const ImageView &image)
      : settings_(settings), network_(network), options_(options),
        image_(timed(seconds_.prepare,
                     [&] { return to_unit_range(image, settings.preprocessing); })) {}

  Segmentation segment() {
    double all = 0;
    Segmentation found =
        timed(all, [&] { return settings_.preprocessing.scale ? at_scale() : at_resolutions(); });
    // The image was read before.
    seconds_.merge = all - resizing_ - seconds_.network - seconds_.cluster;
    seconds_.prepare += resizing_;
    found.seconds = seconds_;
    return found;
  }

private:
  std::vector<PixelMaps> maps(std::vector<Planes> views, bool keep_background) {
    std::vector<PixelMaps> found = timed(seconds_.cluster, [&] {
      return view_maps(network_, std::move(views), settings_, options_.tile_size, keep_background);
    });
    for (const PixelMaps &view : found) {
      seconds_.network += view.network_seconds;
      seconds_.cluster -= view.network_seconds;
    }
    return found;
  }

  Planes zoomed(const Planes &image, double zoom) {
    return timed(resizing_, [&] { return resized(image, zoom); });
  }

  PixelMaps map(Planes view, bool keep_background) {
    std::vector<Planes> views;
    views.push_back(std::move(view));
    return std::move(maps(std::move(views), keep_background).front());
  }

  /// Segments at the model's scale or, if that is of a first look, which shows large objects whole,
  /// at the zoom to which the image is then enlarged until its objects have the wanted size.
  Segmentation at_scale() {
    const PreprocessingSettings &preprocessing = settings_.preprocessing;
    const double first = *preprocessing.scale;
    const double affordable = std::max(
        kSearchedZoom * first, std::sqrt(kLargestLook / static_cast<double>(image_.pixels())));
    const double largest = std::min(kLargestZoom * first, affordable);
    double zoom = first, grown = 1, before = std::numeric_limits<double>::infinity();
    while (preprocessing.object_diameter) {
      const PixelMaps seen = map(zoomed(image_, zoom), false);
      const LabelMap objects = pieces_of(seen);
      if (std::ranges::max(objects.values) > 0) {
        const double factor = zoom_to_diameter(objects, *preprocessing.object_diameter);
        if (factor < 1 / kClose) {
          zoom *= factor;
          break;
        }
        const bool texture =
            zoom > kGrowingZoom * first && factor >= before / std::pow(grown, kGrowth);
        const double close = zoom < kSearchedZoom * first ? kClose : kNearlyClose;
        if (factor < close || texture || zoom == largest) {
          if (options_.keep_background)
            break;
          return at_scale(objects, seen);
        }
        const double enlarged = std::min(zoom * std::min(factor, kLargestStep), largest);
        grown = enlarged / zoom;
        zoom = enlarged;
        before = factor;
      } else if (zoom < kSearchedZoom * first) {
        zoom *= kLargestStep;
      } else {
        zoom = first;
        break;
      }
    }
    const PixelMaps seen = map(zoomed(image_, zoom), options_.keep_background);
    return at_scale(pieces_of(seen), seen);
  }

  Segmentation at_scale(const LabelMap &objects, const PixelMaps &seen) {
    const LabelMap labels = resize_nearest(objects, image_.height, image_.width);
    return finish(relabel_by_appearance(labels), resized(seen, image_.height, image_.width));
  }

  Segmentation at_resolutions() {
    const std::optional<double> &diameter = settings_.preprocessing.joining_diameter;
    return diameter ? joined(*diameter) : refined();
  }

  /// The largest resolution's map, its parts of large objects joined as the others say.
  Segmentation joined(double diameter) {
    const std::vector<int64_t> &resolutions = settings_.preprocessing.resolutions;
    std::vector<Planes> views;
    for (auto resolution = resolutions.rbegin(); resolution != resolutions.rend(); ++resolution)
      views.push_back(seen_at(image_, static_cast<double>(*resolution)));
    std::vector<PixelMaps> found = maps(std::move(views), options_.keep_background);
    LabelMap labels;
    auto resolution = resolutions.rbegin();
    for (PixelMaps &seen : found) {
      const double zoom = static_cast<double>(*resolution++) /
                          static_cast<double>(std::max(image_.height, image_.width));
      // Segments at the size that the network sees, or the image's own if that is smaller.
      if (zoom >= 1)
        seen = resized(seen, image_.height, image_.width);
      const double speck =
          static_cast<double>(settings_.clustering.min_area) * std::min(1.0, zoom * zoom);
      const LabelMap segments = resize_nearest(
          pieces_of(seen, std::max<int64_t>(1, round_to_even(speck))), image_.height, image_.width);
      const double side = diameter / zoom;
      labels = &seen == &found.front()
                   ? relabel_by_appearance(segments)
                   : join_fragments(labels, segments, std::numbers::pi / 4 * side * side);
    }
    return finish(labels, resized(found.front(), image_.height, image_.width));
  }

  /// The smallest resolution's map, refined by patches of the larger ones (Section 4.1).
  Segmentation refined() {
    const PreprocessingSettings &preprocessing = settings_.preprocessing;
    const auto longest = static_cast<double>(std::max(image_.height, image_.width));
    const auto base = static_cast<double>(preprocessing.resolutions.front());
    std::vector<std::vector<Rectangle>> finer;
    std::vector<Planes> views;
    views.push_back(seen_at(image_, base));
    for (size_t i = 1; i < preprocessing.resolutions.size(); ++i) {
      const auto resolution = static_cast<double>(preprocessing.resolutions[i]);
      const int64_t size = std::max<int64_t>(1, round_to_even(longest * base / resolution));
      finer.push_back(windows(image_.height, image_.width, size, preprocessing.patch_overlap));
      for (const Rectangle &window : finer.back()) {
        const auto side = static_cast<double>(std::max(window.height(), window.width()));
        const int64_t seen = std::max<int64_t>(1, round_to_even(side * resolution / longest));
        views.push_back(seen_at(cut(window), static_cast<double>(seen)));
      }
    }
    const std::vector<PixelMaps> found = maps(std::move(views), options_.keep_background);
    auto next = found.begin();
    const PixelMaps coarse = resized(*next++, image_.height, image_.width);
    LabelMap labels = pieces_of(coarse);
    for (const std::vector<Rectangle> &grid : finer) {
      std::vector<Patch> patches;
      for (const Rectangle &window : grid)
        patches.push_back({pieces_of(resized(*next++, window.height(), window.width())), window.x0,
                           window.y0, window.x1, window.y1});
      labels = refine(labels, patches);
    }
    return finish(labels, coarse);
  }

  Planes cut(const Rectangle &window) const {
    Planes view(window.height(), window.width());
    float *to = view.values.data();
    for (int64_t channel = 0; channel < 3; ++channel)
      for (int64_t y = window.y0; y < window.y1; ++y)
        to = std::copy_n(&image_.values[(channel * image_.height + y) * image_.width + window.x0],
                         view.width, to);
    return view;
  }

  /// With a longer side of `longest`.
  Planes seen_at(const Planes &image, double longest) {
    return zoomed(image, longest / static_cast<double>(std::max(image.height, image.width)));
  }

  LabelMap pieces_of(const PixelMaps &maps) const {
    return pieces_of(maps, settings_.clustering.min_area);
  }

  LabelMap pieces_of(const PixelMaps &maps, int64_t min_area) const {
    const int64_t dimensions = settings_.architecture.feature_dim;
    const int64_t num_modes = static_cast<int64_t>(maps.modes.size()) / dimensions;
    return pieces(maps.index, maps.modes.data(), num_modes, dimensions,
                  settings_.clustering.split_components, min_area);
  }

  /// Scores; segments that score as background are dropped where the model can tell.
  Segmentation finish(LabelMap labels, const PixelMaps &maps) const {
    const ClusteringSettings &clustering = settings_.clustering;
    if (options_.leave_outliers) {
      const double edge = cosine_of(clustering.bandwidth_deg);
      for (int64_t pixel = 0; pixel < labels.size(); ++pixel)
        if (maps.cosine.values[pixel] < edge)
          labels.values[pixel] = 0;
      labels = relabel_by_appearance(labels);
    }
    const std::vector<float> &likeness =
        maps.foreground ? maps.foreground->values : maps.cosine.values;
    auto [scores, cosine, stability] = segment_scores(
        labels, likeness.data(), maps.cosine.values.data(), clustering.bandwidth_deg);
    if (maps.foreground && !options_.keep_background) {
      std::vector<int32_t> number(scores.size() + 1);
      int32_t count = 0;
      for (size_t segment = 0; segment < scores.size(); ++segment)
        if (scores[segment] >= clustering.min_score) {
          number[segment + 1] = count + 1;
          scores[count] = scores[segment];
          cosine[count] = cosine[segment];
          stability[count] = stability[segment];
          ++count;
        }
      for (auto *values : {&scores, &cosine, &stability})
        values->resize(count);
      for (int32_t &label : labels.values)
        label = number[label];
    }
    Segmentation result;
    result.labels = std::move(labels);
    result.scores = std::move(scores);
    result.predicted_iou = std::move(cosine);
    result.stability_score = std::move(stability);
    return result;
  }

  const ModelSettings &settings_;
  const FeatureExtractor &network_;
  const SegmenterOptions &options_;
  StageSeconds seconds_;
  double resizing_ = 0;
  const Planes image_;
};

} // namespace

Segmenter::Segmenter(ModelSettings settings, std::shared_ptr<const FeatureExtractor> network,
                     const SegmenterOptions &options)
    : settings_(std::move(settings)), network_(std::move(network)), options_(options) {
  if (!network_)
    throw Error("network: is missing");
  if (options_.tile_size < 32)
    throw Error("tile_size must be at least 32, got " + std::to_string(options_.tile_size));
  if (options_.scale && !options_.resolutions.empty())
    throw Error("resolutions and scale: give one of them");
  if (options_.scale || !options_.resolutions.empty()) {
    settings_.preprocessing.resolutions = options_.resolutions;
    settings_.preprocessing.scale = options_.scale;
    // A size asked for is final: it is not for a first look only.
    settings_.preprocessing.object_diameter.reset();
    if (options_.scale)
      settings_.preprocessing.joining_diameter.reset();
  }
  check_settings(settings_);
}

Segmentation Segmenter::segment(const ImageView &image) const {
  return Run(settings_, *network_, options_, image).segment();
}

} // namespace bottomup
