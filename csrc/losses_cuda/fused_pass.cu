#include "losses_cuda/fused_pass.h"

#include <algorithm>

#include "losses_cuda/tile_block.cuh"

namespace bottomup {
namespace {

// The first that fits the shared memory of a block. Of all that is moved, reading twice and writing
// once is 1.5 times the least; neighbours add 8 / width to the left and right, where a sector holds
// 8 pixels, and 2.5 / height above and below: 1.91 for 16 x 32, which needs 96 KB for 32 entities,
// 2.06 for 8 x 32, and for many entities 2.31 for 8 x 16, which needs 106 KB for 128. A copy of the
// matrix in use saves each warp reading it from the cache; 32 entities x 128 dimensions take 17 KB.
constexpr Tile kTilesForFew[] = {{16, 32}, {8, 32}, {8, 16}, {8, 8}};
constexpr Tile kTilesForMany[] = {{8, 16}, {8, 8}};

template <typename Shape> int threads_of(const Tile &tile) {
  return tile.pixels() / 4 * Shape::groups;
}

template <typename Shape> int64_t shared_bytes(const FusedPart &part) {
  const Tile &tile = part.tile;
  const int64_t sums = threads_of<Shape>(tile) / kWarp * tile_terms;
  const int64_t weights = 2 * part.number_rows;
  const int64_t numbers = part.in_shared ? part.number_rows * tile.stations() : 0;
  const int64_t copies = part.copies ? part.copy_floats : 0;
  return kSummaryBytes + sums * static_cast<int64_t>(sizeof(double)) +
         part.number_rows * tile.pixels() / 4 +
         (tile.stations() + 2 * tile.pixels() + numbers + copies + weights) *
             static_cast<int64_t>(sizeof(float));
}

/// The part with the first tile that fits the current device, and copies if they fit, too.
template <typename Shape, size_t count>
FusedPart fit(FusedPart part, const ImageLines &images, const Tile (&tiles)[count]) {
  const int64_t most_bytes = device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin);
  part.in_shared = true;
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

int32_t tiles_along(int64_t size, int32_t side) {
  return static_cast<int32_t>((size + side - 1) / side);
}

} // namespace

FusedPlan::FusedPlan(const LossesProblem &problem, const ImageLines &images, Workspace &memory) {
  const int64_t batch = problem.features.batch;
  const auto entities = static_cast<int32_t>(problem.num_entities);
  const auto add = [&](FusedPart part) {
    part.tile_rows = tiles_along(problem.height, part.tile.height);
    part.tile_columns = tiles_along(problem.width, part.tile.width);
    const int64_t tiles = static_cast<int64_t>(part.tile_rows) * part.tile_columns;
    part.numbers = memory.take<float>(
        part.in_shared ? 0 : batch * tiles * 2 * part.number_rows * part.tile.stations());
    part.first_block = image_blocks;
    image_blocks += tiles;
    parts[count++] = part;
  };

  FusedPart few{};
  few.most = std::min(entities, FewEntities::entities);
  few.few = true;
  add(fit<FewEntities>(few, images, kTilesForFew));
  if (entities > few.most) {
    FusedPart many{};
    many.least = few.most + 1;
    many.most = std::min(entities, ManyEntities::entities);
    add(fit<ManyEntities>(many, images, kTilesForMany));
    if (entities > many.most) {
      FusedPart more{};
      more.least = many.most + 1;
      more.most = entities;
      more.tile = kTilesForMany[1];
      more.number_rows = entities + 1;
      more.threads = threads_of<AnyEntities>(more.tile);
      more.shared_bytes = shared_bytes<AnyEntities>(more);
      add(more);
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
