// All views of an image from pixels to modes on one stream, as one CUDA graph.
#pragma once

#include <memory>
#include <vector>

#include "runtime/cuda/clustering.h"
#include "runtime/cuda/replay.h"
#include "runtime/pixel_maps.h"

namespace bottomup {

/// What a plan depends on.
struct ViewKey {
  std::vector<ImageSize> sizes;
  bool foreground, keep_background;
  ClusteringSettings clustering;
  bool operator==(const ViewKey &) const = default;
};

class ViewPlan {
public:
  ViewPlan(const CudaNetwork &network, const ViewKey &key);

  /// Of normalised views. Waits for the device.
  std::vector<PixelMaps> run(const std::vector<Planes> &views, const Stream &stream);

private:
  /// What views of one size share: they come one after another.
  struct Stage {
    ImageSize size; // padded
    std::unique_ptr<CudaNetworkContext> context;
    ClusteringPlan clustering;
    DeviceMemory memory{};
    float *image{}, *corner{}, *features{}, *logits{}; // logits are null in models without
    bool *mask{};
    int32_t *index{};
    float *score{};

    int64_t pixels() const { return size.height * size.width; }
  };

  /// One view's memory on the host.
  struct View {
    ImageSize size;
    Stage *stage;
    PinnedMemory memory;
    float *image;
    int32_t *index, *num_modes, *status;
    float *score, *logits, *modes;
  };

  Stage &stage_of(const CudaNetwork &network, ImageSize padded, const ClusterOptions &options);
  void enqueue(const View &view, CudaStream stream) const;
  PixelMaps read(const View &view) const;

  int64_t dimensions_;
  bool has_foreground_, keep_background_;
  float probability_above_, logit_from_; // of a pixel that is clustered
  std::vector<std::unique_ptr<Stage>> stages_;
  std::vector<View> views_;
  Replay replay_; // given up before what it works on
};

/// `pixel_maps` of images in [0, 1] that are no larger than a tile, for models that do not cluster
/// by region.
std::vector<PixelMaps> cuda_view_maps(const CudaNetwork &network, std::vector<Planes> views,
                                      const ModelSettings &settings, bool keep_background);

} // namespace bottomup
