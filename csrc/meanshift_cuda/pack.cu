#include "meanshift_cuda/pack.h"

#include "meanshift_cuda/pack.cuh"

namespace bottomup {

template <typename Packed>
void pack(Launcher &run, const FeatureMaps &features, const bool *mask,
          const PackedLines<Packed> &lines, Status non_finite, int32_t *input_status) {
  with_type(features.type, [&]<typename T>(T) {
    const PackTask<Packed> task{{features, layout_of(features, sizeof(T))},
                                mask,
                                lines,
                                static_cast<int32_t>(non_finite),
                                input_status};
    run("pack", pack_kernel<T, Packed>, grid_of(lines.rows / kChunkPixels, features.batch),
        kThreads, sizeof(PackShared), task);
  });
}

template void pack(Launcher &, const FeatureMaps &, const bool *, const PackedLines<float> &,
                   Status, int32_t *);
template void pack(Launcher &, const FeatureMaps &, const bool *, const PackedLines<Float16> &,
                   Status, int32_t *);

} // namespace bottomup
