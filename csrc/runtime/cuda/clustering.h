// Clustering on the device with all memory taken beforehand, for CudaClustering and Segmenter.
#pragma once

#include "bottomup/cuda.h"
#include "common/workspace.h"
#include "contracts/cluster.h"
#include "runtime/cuda/device.h"

namespace bottomup {

class ClusteringPlan {
public:
  ClusteringPlan(int64_t dimensions, ImageSize size, const ClusterOptions &options);

  /// As CudaClustering's.
  void enqueue(const FeatureView &features, const bool *mask, CudaStream stream);
  /// The position of each pixel's nearest mode, whatever the mask, and |cos| to it.
  void enqueue_assign(const FeatureView &features, int32_t *index, float *score,
                      CudaStream stream) const;
  Clusters read(CudaStream stream) const;
  const DeviceClusters &clusters() const { return clusters_; }
  int64_t max_modes() const { return problem_.max_modes; }

private:
  /// Cuts the memory, or only counts where there is none yet.
  int64_t cut(void *memory);
  FeatureMaps maps_of(const FeatureView &features) const;

  int device_;
  ImageSize size_;
  ClusterProblem problem_{}; // but for the features
  int32_t *status_ = nullptr;
  void *workspace_ = nullptr;
  DeviceMemory memory_;
  DeviceClusters clusters_{};
};

/// Throws Error unless a status word says that all was well.
void check_input(int32_t status);

} // namespace bottomup
