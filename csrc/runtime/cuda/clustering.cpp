#include "runtime/cuda/clustering.h"

#include "contracts/assign.h"

namespace bottomup {

ClusteringPlan::ClusteringPlan(int64_t dimensions, ImageSize size, const ClusterOptions &options)
    : device_(current_gpu()), size_(size) {
  // Of no pixels: refuses what it refuses on the CPU.
  cluster(FeatureView::planar(nullptr, dimensions, 0, 0), nullptr, options);
  if (size.height < 0 || size.width < 0)
    throw Error("features must not have a negative size");
  problem_.features.batch = 1;
  problem_.features.dimensions = dimensions;
  problem_.features.pixels = size.height * size.width;
  problem_.features.type = DataType::float32;
  problem_.width = size.width;
  problem_.settings = {options.bandwidth_deg, options.min_support, options.rounds, options.fast};
  problem_.max_modes = options.max_modes;
  memory_ = DeviceMemory(cut(nullptr));
  cut(memory_.data());
  clusters_ = {problem_.labels,  problem_.num_segments, problem_.score, problem_.modes,
               problem_.support, problem_.num_modes,    status_};
}

int64_t ClusteringPlan::cut(void *memory) {
  Workspace parts(memory);
  const int64_t pixels = problem_.features.pixels, modes = problem_.max_modes;
  problem_.labels = parts.take<int32_t>(pixels);
  problem_.num_segments = parts.take<int32_t>(1);
  problem_.score = parts.take<float>(pixels);
  problem_.modes = parts.take<float>(modes * problem_.features.dimensions);
  problem_.support = parts.take<int32_t>(modes);
  problem_.num_modes = parts.take<int32_t>(1);
  status_ = parts.take<int32_t>(1);
  workspace_ = parts.take<unsigned char>(cluster_cuda_workspace(problem_));
  return parts.bytes();
}

FeatureMaps ClusteringPlan::maps_of(const FeatureView &features) const {
  const FeatureMaps &planned = problem_.features;
  if (features.dimensions != planned.dimensions || features.height != size_.height ||
      features.width != size_.width)
    throw Error("features: another size than the clustering was made for");
  if (!features.data && planned.pixels > 0)
    throw Error("features: no data");
  FeatureMaps maps = planned;
  maps.data = features.data;
  maps.channel_stride = features.channel_stride;
  maps.pixel_stride = features.pixel_stride;
  return maps;
}

void ClusteringPlan::enqueue(const FeatureView &features, const bool *mask, CudaStream stream) {
  ClusterProblem problem = problem_;
  problem.features = maps_of(features);
  problem.mask = mask;
  const DeviceScope scope(device_);
  check_cuda(cudaMemsetAsync(status_, 0, sizeof(*status_), stream), "clearing the status");
  check_cuda(cluster_cuda(problem, workspace_, status_, stream));
}

void ClusteringPlan::enqueue_assign(const FeatureView &features, int32_t *index, float *score,
                                    CudaStream stream) const {
  const AssignProblem problem{maps_of(features),
                              problem_.max_modes,
                              problem_.modes,
                              problem_.num_modes,
                              problem_.settings.fast,
                              index,
                              score};
  const DeviceScope scope(device_);
  check_cuda(assign_cuda(problem, nullptr, status_, stream));
}

Clusters ClusteringPlan::read(CudaStream stream) const {
  const DeviceScope scope(device_);
  Clusters found;
  found.labels = LabelMap(size_.height, size_.width);
  found.score = Grid<float>(size_.height, size_.width);
  int32_t status = 0, num_modes = 0;
  enqueue_copy(&status, clusters_.status, 1, stream);
  enqueue_copy(&num_modes, clusters_.num_modes, 1, stream);
  enqueue_copy(&found.num_segments, clusters_.num_segments, 1, stream);
  enqueue_copy(found.labels.values.data(), clusters_.labels, found.labels.size(), stream);
  enqueue_copy(found.score.values.data(), clusters_.score, found.score.size(), stream);
  check_cuda(cudaStreamSynchronize(stream), "clustering");
  check_input(status);
  found.modes.resize(num_modes * problem_.features.dimensions);
  found.support.resize(num_modes);
  enqueue_copy(found.modes.data(), clusters_.modes, std::ssize(found.modes), stream);
  enqueue_copy(found.support.data(), clusters_.support, num_modes, stream);
  check_cuda(cudaStreamSynchronize(stream), "clustering");
  return found;
}

void check_input(int32_t status) {
  if (status != 0)
    throw Error(message(static_cast<Status>(status)));
}

struct CudaClustering::Impl {
  ClusteringPlan plan;
};

CudaClustering::CudaClustering(int64_t dimensions, int64_t height, int64_t width,
                               const ClusterOptions &options)
    : impl_(new Impl{{dimensions, {height, width}, options}}) {}

CudaClustering::~CudaClustering() = default;
CudaClustering::CudaClustering(CudaClustering &&) noexcept = default;

void CudaClustering::enqueue(const FeatureView &features, const bool *mask, CudaStream stream) {
  impl_->plan.enqueue(features, mask, stream);
}

const DeviceClusters &CudaClustering::clusters() const { return impl_->plan.clusters(); }

Clusters CudaClustering::read(CudaStream stream) const { return impl_->plan.read(stream); }

} // namespace bottomup
