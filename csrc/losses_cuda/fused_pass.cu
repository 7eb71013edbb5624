#include "losses_cuda/fused_pass.h"

#include <algorithm>

#include "losses_cuda/block.cuh"
#include "losses_cuda/tile_gradient.cuh"

namespace bottomup {
namespace {

// Up to 32 entities, 8 rows of 4 pixels a thread: 32 sums, 128 registers, so that 512 threads fit a
// multiprocessor, a pixel of the largest tile for each. Up to 128 entities in one product, the
// numbers of a pixel leave room for a smaller tile, and 16 rows a thread for fewer threads.
using FewEntities = WarpShape<16, 16, 512>;
using ManyEntities = WarpShape<4, 16, 128>;

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
  const int64_t most_bytes = most_shared_bytes();
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
  return part;
}

int64_t tiles_along(int64_t size, int32_t side) { return (size + side - 1) / side; }

template <typename T, typename Shape, bool in_shared>
__global__ void __launch_bounds__(Shape::most_threads) fused_pass(FusedPass pass) {
  const int entities = pass.images.summary[blockIdx.z].entities;
  if (entities < pass.part.least || entities > pass.part.most)
    return;
  const TileBlock<T, Shape, in_shared> block(pass);
  const ImageSummary &summary = block.summary;
  block.copy_summary();
  block.find_positions();
  block.copy_matrix(block.to_cosines(), pass.images.dimensions, Shape::entities,
                    pass.images.stride);
  __syncthreads();
  compare_with_lines(block);
  if (summary.usable) {
    measure_neighbours(block);
    find_segments(block);
    compare_in_segment_space(block);
  } else {
    block.add_term(tile_mse, 0);
    block.add_term(tile_change, 0);
  }
  if (pass.gradient)
    write_gradient(block);

  __syncthreads();
  if (threadIdx.x < tile_terms) {
    double sum = 0;
    for (unsigned warp = 0; warp < blockDim.x / kWarp; ++warp)
      sum += block.partial[warp * tile_terms + threadIdx.x];
    const int64_t number = blockIdx.y * gridDim.x + blockIdx.x + pass.part.first_block;
    pass.sums[(block.image() * pass.image_blocks + number) * tile_terms + threadIdx.x] = sum;
  }
}

template <typename T, typename Shape, bool in_shared>
void launch_pass(const FusedPass &pass, Launches &launches) {
  launches("fused_pass", fused_pass<T, Shape, in_shared>,
           grid_of(tiles_along(pass.width, pass.part.tile.width),
                   tiles_along(pass.height, pass.part.tile.height), pass.features.batch),
           threads_of<Shape>(pass.part.tile), shared_bytes<Shape>(pass.part), pass);
}

} // namespace

FusedPlan::FusedPlan(const LossesProblem &problem, const ImageLines &images, Allotment &memory) {
  const int64_t batch = problem.features.batch;
  const auto entities = static_cast<int32_t>(problem.num_entities);
  const auto add = [&](FusedPart part) {
    const Tile &tile = part.tile;
    const int64_t tiles =
        tiles_along(problem.width, tile.width) * tiles_along(problem.height, tile.height);
    part.numbers = memory.take<float>(
        part.in_shared ? 0 : batch * tiles * 2 * part.number_rows * tile.stations());
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
      add(more);
    }
  }
  sums = memory.take<double>(batch * image_blocks * tile_terms);
}

void run_fused_pass(const LossesProblem &problem, const FusedPlan &plan, const ImageLines &images,
                    uint8_t *easy, int32_t *input_status, Launches &launches) {
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
    with_type(problem.features.type, [&](auto type) {
      using T = decltype(type);
      if (part.few)
        launch_pass<T, FewEntities, true>(pass, launches);
      else if (part.in_shared)
        launch_pass<T, ManyEntities, true>(pass, launches);
      else
        launch_pass<T, ManyEntities, false>(pass, launches);
    });
  }
}

} // namespace bottomup
