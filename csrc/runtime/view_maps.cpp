#include "runtime/view_maps.h"

#include <algorithm>

#if BOTTOMUP_CUDA
#include "runtime/cuda/view_plan.h"
#endif

namespace bottomup {

std::vector<PixelMaps> view_maps(const FeatureExtractor &network, std::vector<Planes> views,
                                 const ModelSettings &settings, int64_t tile_size,
                                 bool keep_background) {
#if BOTTOMUP_CUDA
  const bool by_region =
      settings.clustering.by_region && settings.architecture.foreground && !keep_background;
  const bool tiled = std::ranges::any_of(views, [tile_size](const Planes &view) {
    return std::max(view.height, view.width) > tile_size;
  });
  if (const auto *on_gpu = dynamic_cast<const CudaNetwork *>(&network);
      on_gpu && !by_region && !tiled)
    return cuda_view_maps(*on_gpu, std::move(views), settings, keep_background);
#endif
  std::vector<PixelMaps> maps;
  for (Planes &view : views)
    maps.push_back(pixel_maps(network, std::move(view), settings, tile_size, keep_background));
  return maps;
}

} // namespace bottomup
