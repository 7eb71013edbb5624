// The maps of several views of one image.
#pragma once

#include <vector>

#include "runtime/pixel_maps.h"

namespace bottomup {

/// `pixel_maps` of each view, of images in [0, 1]; all at once on a GPU, if the network is there.
std::vector<PixelMaps> view_maps(const FeatureExtractor &network, std::vector<Planes> views,
                                 const ModelSettings &settings, int64_t tile_size,
                                 bool keep_background);

} // namespace bottomup
