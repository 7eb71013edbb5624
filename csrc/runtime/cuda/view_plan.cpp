#include "runtime/cuda/view_plan.h"

#include <bit>
#include <cstdint>
#include <limits>

#include "runtime/cuda/mask.h"
#include "runtime/cuda/network.h"
#include "runtime/padding.h"
#include "runtime/preprocessing.h"

namespace bottomup {
namespace {

/// The smallest logit whose probability is above `least`, as the CPU computes it; NaN if none is.
/// So the device compares logits, and its exponential may differ from the CPU's.
float smallest_logit(float least) {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  if (!(foreground_probability(infinity) > least))
    return std::numeric_limits<float>::quiet_NaN();
  // Numbers are ordered as their bits are, once the negative ones are turned round.
  const auto number = [](int64_t place) {
    const auto bits = static_cast<uint32_t>(place < 0 ? -place : place);
    return std::bit_cast<float>(place < 0 ? bits | 0x80000000u : bits);
  };
  const auto edge = static_cast<int64_t>(std::bit_cast<uint32_t>(infinity));
  int64_t below = -edge - 1, reached = edge;
  while (reached - below > 1) {
    const int64_t middle = below + (reached - below) / 2;
    (foreground_probability(number(middle)) > least ? reached : below) = middle;
  }
  return number(reached);
}

} // namespace

ViewPlan::ViewPlan(const CudaNetwork &network, const ViewKey &key)
    : dimensions_(network.state().dimensions), has_foreground_(key.foreground),
      keep_background_(key.keep_background),
      probability_above_(static_cast<float>(key.clustering.foreground_threshold)),
      logit_from_(smallest_logit(probability_above_)) {
  const ClusterOptions options = cluster_options(key.clustering);
  for (const ImageSize &size : key.sizes) {
    View &view = views_.emplace_back();
    view.size = size;
    view.stage = &stage_of(network, network.padded(size), options);
    const auto cut = [&](void *memory) {
      Workspace parts(memory);
      const int64_t pixels = view.stage->pixels();
      view.image = parts.take<float>(3 * pixels);
      view.index = parts.take<int32_t>(pixels);
      view.num_modes = parts.take<int32_t>(1);
      view.status = parts.take<int32_t>(1);
      view.score = parts.take<float>(pixels);
      view.logits = has_foreground_ ? parts.take<float>(pixels) : nullptr;
      view.modes = parts.take<float>(view.stage->clustering.max_modes() * dimensions_);
      return parts.bytes();
    };
    view.memory = PinnedMemory(cut(nullptr));
    cut(view.memory.data());
  }
}

ViewPlan::Stage &ViewPlan::stage_of(const CudaNetwork &network, ImageSize padded,
                                    const ClusterOptions &options) {
  for (const std::unique_ptr<Stage> &stage : stages_)
    if (stage->size == padded)
      return *stage;
  Stage &stage = *stages_.emplace_back(
      new Stage{padded, network.prepare(padded), ClusteringPlan(dimensions_, padded, options)});
  const auto cut = [&](void *memory) {
    Workspace parts(memory);
    stage.image = parts.take<float>(3 * stage.pixels());
    stage.corner = parts.take<float>(2);
    stage.features = parts.take<float>(dimensions_ * stage.pixels());
    stage.logits = has_foreground_ ? parts.take<float>(stage.pixels()) : nullptr;
    stage.mask = parts.take<bool>(stage.pixels());
    stage.index = parts.take<int32_t>(stage.pixels());
    stage.score = parts.take<float>(stage.pixels());
    return parts.bytes();
  };
  stage.memory = DeviceMemory(cut(nullptr));
  cut(stage.memory.data());
  return stage;
}

std::vector<PixelMaps> ViewPlan::run(const std::vector<Planes> &views, const Stream &stream) {
  for (size_t i = 0; i < views_.size(); ++i)
    pad(views[i].values.data(), views_[i].size, views_[i].stage->size, views_[i].image);
  replay_.run(stream, [&] {
    for (const View &view : views_)
      enqueue(view, stream);
  });
  stream.wait();
  std::vector<PixelMaps> maps;
  for (const View &view : views_)
    maps.push_back(read(view));
  return maps;
}

void ViewPlan::enqueue(const View &view, CudaStream stream) const {
  Stage &stage = *view.stage;
  ClusteringPlan &clustering = stage.clustering;
  const auto [height, width] = stage.size;
  enqueue_copy(stage.image, view.image, 3 * stage.pixels(), stream);
  // Each view is an image of its own.
  check_cuda(cudaMemsetAsync(stage.corner, 0, 2 * sizeof(float), stream), "clearing");
  stage.context->enqueue(stage.image, stage.corner, stage.features, stage.logits, stream);
  const bool masked = has_foreground_ && !keep_background_;
  check_cuda(make_mask({masked ? stage.logits : nullptr, logit_from_, view.size.height,
                        view.size.width, height, width, stage.mask},
                       stream));
  const FeatureView features = FeatureView::planar(stage.features, dimensions_, height, width);
  clustering.enqueue(features, stage.mask, stream);
  clustering.enqueue_assign(features, stage.index, stage.score, stream);
  const DeviceClusters &found = clustering.clusters();
  enqueue_copy(view.status, found.status, 1, stream);
  enqueue_copy(view.num_modes, found.num_modes, 1, stream);
  enqueue_copy(view.modes, found.modes, clustering.max_modes() * dimensions_, stream);
  enqueue_copy(view.index, stage.index, stage.pixels(), stream);
  enqueue_copy(view.score, stage.score, stage.pixels(), stream);
  if (has_foreground_)
    enqueue_copy(view.logits, stage.logits, stage.pixels(), stream);
}

PixelMaps ViewPlan::read(const View &view) const {
  check_input(*view.status);
  const auto [height, width] = view.size;
  PixelMaps maps{Grid<int32_t>(height, width, -1),
                 Grid<float>(height, width),
                 {},
                 std::vector<float>(view.modes, view.modes + *view.num_modes * dimensions_)};
  if (has_foreground_)
    maps.foreground = Grid<float>(height, width);
  for (int64_t y = 0; y < height; ++y)
    for (int64_t x = 0; x < width; ++x) {
      const int64_t pixel = y * view.stage->size.width + x;
      if (has_foreground_)
        (*maps.foreground)(y, x) = foreground_probability(view.logits[pixel]);
      if (!has_foreground_ || keep_background_ || (*maps.foreground)(y, x) > probability_above_) {
        maps.index(y, x) = std::max(0, view.index[pixel]); // one segment where there are no modes
        maps.cosine(y, x) = view.score[pixel];
      }
    }
  return maps;
}

std::vector<PixelMaps> cuda_view_maps(const CudaNetwork &network, std::vector<Planes> views,
                                      const ModelSettings &settings, bool keep_background) {
  CudaNetwork::State &state = network.state();
  const ArchitectureSettings &architecture = settings.architecture;
  if (architecture.feature_dim != state.dimensions)
    throw Error("network: has " + std::to_string(state.dimensions) +
                " dimensions, the settings say " + std::to_string(architecture.feature_dim));
  ViewKey key{{}, architecture.foreground, keep_background, settings.clustering};
  for (Planes &view : views) {
    normalise(view, settings.preprocessing);
    key.sizes.push_back({view.height, view.width});
  }
  const std::lock_guard turn(state.turn);
  const DeviceScope scope(state.device);
  return state.plans.get(key, [&] { return std::make_unique<ViewPlan>(network, key); })
      .run(views, state.stream);
}

} // namespace bottomup
