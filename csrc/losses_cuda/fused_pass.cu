#include "losses_cuda/fused_pass.h"

#include <algorithm>

#include "losses_cuda/feature_tile.cuh"
#include "losses_cuda/tile_block.cuh"

namespace bottomup {
namespace {

// The first that fits the shared memory of a block. Of all that is moved, reading twice and writing
// once is 1.5 times the least; neighbours add 8 / width to the left and right, where a sector holds
// 8 pixels, and 2.5 / height above and below: 1.91 for 16 x 32, which needs 96 KB for 32 entities,
// 2.06 for 8 x 32. A copy of the matrix in use saves each warp reading it from the cache; 32
// entities x 128 dimensions take 17 KB.
constexpr Tile kTilesForFew[] = {{16, 32}, {8, 32}, {8, 16}, {8, 8}};
// Reading kept features once and writing their gradient is 1, neighbours add as much as above, and
// the lines and their inverse entities / pixels: with 128 of them 2.31 for 8 x 24, which needs
// 163 KB for 128 dimensions of float32.
constexpr Tile kTilesForKept[] = {{8, 24}, {8, 16}, {8, 8}};
// Of half precision a sector holds 16 pixels, on whose multiples tiles begin, and lines count twice
// unless they are rounded: 2.31, or 2.81, for 8 x 32, which needs 121 KB.
constexpr Tile kTilesForKeptHalves[] = {{8, 32}, {8, 16}, {8, 8}};
constexpr Tile kTilesForMany[] = {{8, 16}, {8, 8}};

int64_t kept_bytes(const LossesProblem &problem, const Tile &tile) {
  int64_t bytes = 0;
  with_type(problem.features.type, [&](auto type) {
    bytes = FeatureTile<decltype(type)>::shared_bytes(tile, padded_dimensions(problem));
  });
  return bytes;
}

template <typename Shape> int threads_of(const Tile &tile) {
  return tile.pixels() / 4 * Shape::groups;
}

template <typename Shape> int64_t shared_bytes(const FusedPart &part) {
  const Tile &tile = part.tile;
  const int64_t sums = threads_of<Shape>(tile) / kWarp * tile_terms;
  const int64_t numbers = part.kernel != FusedKernel::any ? part.number_rows * tile.stations() : 0;
  const int64_t copies = part.copies ? part.copy_floats : 0;
  return kSummaryBytes + sums * static_cast<int64_t>(sizeof(double)) +
         part.number_rows * tile.pixels() / 4 +
         (tile.stations() + 2 * tile.pixels() + numbers + copies + part.number_rows) *
             static_cast<int64_t>(sizeof(float));
}

/// The part with the first tile that fits the current device, and copies if they fit, too.
template <typename Shape, size_t count>
FusedPart fit(FusedPart part, const ImageLines &images, const Tile (&tiles)[count]) {
  const int64_t most_bytes = device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin);
  part.number_rows = part.most + 1;
  for (const Tile &tile : tiles) {
    part.tile = tile;
    if (shared_bytes<Shape>(part) <= most_bytes)
      break;
  }
  const int32_t inverse = std::min(images.most_segments, part.most) * Shape::entities;
  const int32_t lines = images.dimensions * std::max(Shape::entities, part.number_rows);
  part.copy_floats = std::max(inverse, lines);
  part.copies = true;
  part.copies = shared_bytes<Shape>(part) <= most_bytes;
  part.threads = threads_of<Shape>(part.tile);
  part.shared_bytes = shared_bytes<Shape>(part);
  return part;
}

/// The first tile of which the current device can keep the features; an empty one if there is none.
Tile kept_tile(const LossesProblem &problem) {
  const int64_t most_bytes = device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin);
  const int64_t dimensions = padded_dimensions(problem);
  for (const Tile &tile : is_half(problem.features.type) ? kTilesForKeptHalves : kTilesForKept)
    if (dimensions <= kMostKept && kept_bytes(problem, tile) <= most_bytes)
      return tile;
  return {};
}

int32_t tiles_along(int64_t size, int32_t side) {
  return static_cast<int32_t>((size + side - 1) / side);
}

} // namespace

bool keeps_features(const LossesProblem &problem) {
  return problem.num_entities > FewEntities::entities && kept_tile(problem).height > 0;
}

FusedPlan::FusedPlan(const LossesProblem &problem, const ImageLines &images, Workspace &memory) {
  const int64_t batch = problem.features.batch;
  const auto entities = static_cast<int32_t>(problem.num_entities);
  const auto add = [&](FusedPart part) {
    part.tile_rows = tiles_along(problem.height, part.tile.height);
    part.tile_columns = tiles_along(problem.width, part.tile.width);
    const int64_t tiles = static_cast<int64_t>(part.tile_rows) * part.tile_columns;
    part.numbers =
        memory.take<float>(part.kernel == FusedKernel::any
                               ? batch * tiles * 2 * part.number_rows * part.tile.stations()
                               : 0);
    part.first_block = image_blocks;
    image_blocks += tiles;
    parts[count++] = part;
  };

  FusedPart few{};
  few.most = std::min(entities, FewEntities::entities);
  few.kernel = FusedKernel::few;
  add(fit<FewEntities>(few, images, kTilesForFew));
  if (entities > few.most && keeps_features(problem)) {
    FusedPart kept{};
    kept.least = few.most + 1;
    kept.most = entities;
    kept.kernel = FusedKernel::kept_features;
    kept.tile = kept_tile(problem);
    kept.threads = threads_of<KeptFeatures<float>>(kept.tile);
    kept.shared_bytes = kept_bytes(problem, kept.tile);
    add(kept);
  } else if (entities > few.most) {
    FusedPart many{};
    many.least = few.most + 1;
    many.most = std::min(entities, ManyEntities::entities);
    many.kernel = FusedKernel::many;
    add(fit<ManyEntities>(many, images, kTilesForMany));
    if (entities > many.most) {
      FusedPart any{};
      any.least = many.most + 1;
      any.most = entities;
      any.kernel = FusedKernel::any;
      any.tile = kTilesForMany[1];
      any.number_rows = entities + 1;
      any.threads = threads_of<AnyEntities>(any.tile);
      any.shared_bytes = shared_bytes<AnyEntities>(any);
      add(any);
    }
  }
  sums = memory.take<double>(batch * image_blocks * tile_terms);
}

void run_fused_pass(const LossesProblem &problem, const FusedPlan &plan, const ImageLines &images,
                    uint8_t *easy, int32_t *input_status, Launcher &launches) {
  FeatureMaps target = problem.gradient_layout;
  target.data = problem.gradient;
  launches.clear(plan.sums, problem.features.batch * plan.image_blocks * tile_terms);
  for (int i = 0; i < plan.count; ++i) {
    const FusedPart &part = plan.parts[i];
    const FusedPass pass{part,
                         problem.features,
                         access_of(problem.features, problem.width),
                         problem.gradient,
                         target,
                         access_of(target, problem.width),
                         static_cast<int32_t>(problem.height),
                         static_cast<int32_t>(problem.width),
                         problem.labels,
                         images,
                         easy,
                         input_status,
                         plan.sums,
                         plan.image_blocks};
    with_type(problem.features.type,
              [&](auto type) { launch_fused_pass<decltype(type)>(pass, launches); });
  }
}

} // namespace bottomup
