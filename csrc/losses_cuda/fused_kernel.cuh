// The kernels of the fused pass, and their launch for features of one type.
#pragma once

#include <cstdint>

#include "losses_cuda/feature_pass.cuh"
#include "losses_cuda/tile_gradient.cuh"

namespace bottomup {

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
  block.write_sums();
}

template <typename T> void launch_fused_pass(const FusedPass &pass, Launcher &launches) {
  const FusedPart &part = pass.part;
  const auto start = [&](auto *kernel) {
    launches("fused_pass", kernel, grid_of(part.tile_columns, part.tile_rows, pass.features.batch),
             part.threads, part.shared_bytes, pass);
  };
  switch (part.kernel) {
  case FusedKernel::few:
    return start(fused_pass<T, FewEntities, true>);
  case FusedKernel::kept_features:
    return start(feature_pass<T>);
  case FusedKernel::many:
    return start(fused_pass<T, ManyEntities, true>);
  case FusedKernel::any:
    return start(fused_pass<T, AnyEntities, false>);
  }
}

} // namespace bottomup
