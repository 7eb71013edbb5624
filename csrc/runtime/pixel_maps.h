// From a prepared image to the mode, similarity and foreground of every pixel.
#pragma once

#include <cmath>
#include <optional>
#include <vector>

#include "bottomup/clustering.h"
#include "bottomup/segmenter.h"
#include "runtime/resize.h"

namespace bottomup {

/// What the features of one image say.
struct PixelMaps {
  Grid<int32_t> index;                   // position of each pixel's mode; -1 for background
  Grid<float> cosine;                    // |cos| between the pixel's line and that mode's
  std::optional<Grid<float>> foreground; // probability of belonging to an object
  std::vector<float> modes;              // (M, D) lines
  double network_seconds = 0;            // that the network took
};

/// Of belonging to an object, from the network's logit; each step rounded to float32.
inline float foreground_probability(float logit) {
  const auto power = static_cast<float>(std::exp(-static_cast<double>(logit)));
  return 1.0f / (1.0f + power);
}

/// What a model's settings say of finding modes.
ClusterOptions cluster_options(const ClusteringSettings &settings);

/// Features, modes and assignment of an image in [0, 1]. One of more than `tile_size` in a side
/// goes through the network tile by tile, and all tiles are clustered together.
PixelMaps pixel_maps(const FeatureExtractor &network, Planes image, const ModelSettings &settings,
                     int64_t tile_size, bool keep_background);

} // namespace bottomup
