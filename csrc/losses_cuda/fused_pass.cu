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
// 8 pixels, and 2.5 / height above and below: 1.91 for 16 x 32, which needs 84 KB for 32 entities,
// 2.06 for 8 x 32, and for many entities 2.31 for 8 x 16, which needs 103 KB for 128.
constexpr Tile kTilesForFew[] = {{16, 32}, {8, 32}, {8, 16}, {8, 8}};
constexpr Tile kTilesForMany[] = {{8, 16}, {8, 8}};

template <typename Shape> int threads_of(const Tile &tile) {
  return tile.pixels() / 4 * Shape::groups;
}

template <typename Shape> int64_t shared_bytes(const Tile &tile, int64_t rows, bool in_shared) {
  const int64_t partial = static_cast<int64_t>(sizeof(double)) * tile_terms;
  const int64_t numbers = in_shared ? rows * tile.stations() : 0;
  return threads_of<Shape>(tile) / kWarp * partial +
         4 * (tile.stations() + 2 * tile.pixels() + numbers) + rows * tile.pixels() / 4;
}

/// The first tile whose numbers fit the shared memory of a block on the current device.
template <typename Shape, size_t count>
Tile largest_tile(const Tile (&tiles)[count], int64_t rows) {
  int device = 0, bytes = 0;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
  return *std::find_if(tiles, tiles + count - 1, [&](const Tile &tile) {
    return shared_bytes<Shape>(tile, rows, true) <= bytes;
  });
}

int64_t tiles_along(int64_t size, int32_t side) { return (size + side - 1) / side; }

template <typename T, typename Shape, bool in_shared>
__global__ void __launch_bounds__(Shape::most_threads) fused_pass(FusedPass pass) {
  const ImageSummary &summary = pass.images.summary[blockIdx.z];
  if (summary.entities < pass.least || summary.entities > pass.most)
    return;
  const TileBlock<T, Shape, in_shared> block(pass, summary);
  block.find_positions();
  if (pass.copies) {
    block.copy_matrix(block.to_cosines(), pass.images.dimensions, Shape::entities,
                      pass.images.stride, block.lines_copy);
    if (summary.usable)
      block.copy_matrix(block.to_segments(), summary.entities, Shape::entities, pass.images.stride,
                        block.segments_copy);
  }
  __syncthreads();
  compare_with_lines(block);
  if (summary.usable) {
    find_segments(block, block.own_pixels().stations());
    measure_neighbours(block);
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
    const int64_t number = blockIdx.y * gridDim.x + blockIdx.x + pass.first_block;
    pass.sums[(block.image * pass.image_blocks + number) * tile_terms + threadIdx.x] = sum;
  }
}

template <typename T, typename Shape, bool in_shared>
void launch_pass(const FusedPass &pass, Launches &launches) {
  launches("fused_pass", fused_pass<T, Shape, in_shared>,
           grid_of(tiles_along(pass.width, pass.tile.width),
                   tiles_along(pass.height, pass.tile.height), pass.features.batch),
           threads_of<Shape>(pass.tile),
           shared_bytes<Shape>(pass.tile, pass.number_rows, in_shared), pass);
}

} // namespace

FusedPlan::FusedPlan(const LossesProblem &problem, Allotment &memory) {
  const int64_t batch = problem.features.batch;
  const auto entities = static_cast<int32_t>(problem.num_entities);
  const auto add = [&](int32_t least, int32_t most, const Tile &tile, bool few, bool in_shared) {
    const int64_t tiles =
        tiles_along(problem.width, tile.width) * tiles_along(problem.height, tile.height);
    const int64_t numbers = in_shared ? 0 : batch * tiles * 2 * (most + 1) * tile.stations();
    parts[count++] = {
        least, most, tile, most + 1, few, in_shared, memory.take<float>(numbers), image_blocks};
    image_blocks += tiles;
  };

  const int32_t few = std::min(entities, FewEntities::entities);
  add(0, few, largest_tile<FewEntities>(kTilesForFew, few + 1), true, true);
  if (entities > few) {
    const int32_t many = std::min(entities, ManyEntities::entities);
    add(few + 1, many, largest_tile<ManyEntities>(kTilesForMany, many + 1), false, true);
    if (entities > many)
      add(many + 1, entities, kTilesForMany[1], false, false);
  }
  sums = memory.take<double>(batch * image_blocks * tile_terms);
}

void run_fused_pass(const LossesProblem &problem, const FusedPlan &plan, const ImageLines &images,
                    uint8_t *easy, int32_t *input_status, Launches &launches) {
  FeatureMaps target = problem.gradient_layout;
  target.data = problem.gradient;
  launches.clear(plan.sums, problem.features.batch * plan.image_blocks * tile_terms);
  for (int i = 0; i < plan.count; ++i) {
    const FusedPlan::Part &part = plan.parts[i];
    const FusedPass pass{problem.features,
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
                         part.least,
                         part.most,
                         part.tile,
                         part.number_rows,
                         part.numbers,
                         plan.sums,
                         part.first_block,
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
