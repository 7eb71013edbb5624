// Image in, segments out.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bottomup/settings.h"
#include "bottomup/types.h"

namespace bottomup {

/// Integer pixels, rows from the top: grey, RGB or RGBA (whose alpha is dropped), interleaved.
struct ImageView {
  const void *data = nullptr; // uint8, or uint16 in the processor's byte order
  int64_t height = 0, width = 0;
  int channels = 3; // 1, 3 or 4
  int bits = 8;     // 8 or 16
};

/// A window of an image as the network sees it.
struct NetworkInput {
  const float *image;    // (3, H, W), normalised by the model's mean and std
  int64_t height, width; // any, at least 1
  int64_t y, x;          // of its corner in the image, for networks with a position code
};

/// Runs a network. One object serves several threads at once: `extract` must allow that.
class BOTTOMUP_API FeatureExtractor {
public:
  virtual ~FeatureExtractor() = default;

  /// Writes (D, H, W) features and, where `foreground` is not null, (H, W) logits of belonging to
  /// an object, as many as the model's settings say. What it throws comes out of `segment`.
  virtual void extract(const NetworkInput &input, float *features, float *foreground) const = 0;
};

struct SegmenterOptions {
  std::vector<int64_t> resolutions; // longer sides instead of the model's, if any
  std::optional<double> scale;      // zoom before the network instead
  bool keep_background = false;     // label background, too, in models that tell it apart
  bool leave_outliers = false;      // label 0 for pixels outside the window of every mode
  int64_t tile_size = 1024;         // images larger than this go through the network in tiles
};

/// Where the time of a segmentation went. On a GPU the network counts as clustering.
struct StageSeconds {
  double prepare = 0; // intensity and size
  double network = 0;
  double cluster = 0;
  double merge = 0; // pieces, resolutions, scores
};

/// A partition of an image, and numbers on each segment 1..n, at position label - 1.
struct Segmentation {
  LabelMap labels;
  std::vector<double> scores;
  std::vector<double> predicted_iou;   // mean |cos| between the pixels of a segment and its line
  std::vector<double> stability_score; // pixels in a tighter window per pixel in the model's own
  StageSeconds seconds;
  int64_t num_segments() const { return static_cast<int64_t>(scores.size()); }
};

/// A model ready to segment images, by several threads at once.
class BOTTOMUP_API Segmenter {
public:
  Segmenter(ModelSettings settings, std::shared_ptr<const FeatureExtractor> network,
            const SegmenterOptions &options = {});

  Segmentation segment(const ImageView &image) const;

  const ModelSettings &settings() const { return settings_; }

private:
  ModelSettings settings_;
  std::shared_ptr<const FeatureExtractor> network_;
  SegmenterOptions options_;
};

} // namespace bottomup
