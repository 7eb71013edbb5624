// Clustering, and networks, on NVIDIA GPUs: for builds with CUDA, see BOTTOMUP_CUDA in docs/cpp.md.
//
// Streams are the caller's, and so is the choice of the current device: an object belongs to the
// device that is current when it is made. Where there is no usable GPU, making one throws Error.
#pragma once

#include <cstdint>
#include <memory>

#include "bottomup/clustering.h"
#include "bottomup/segmenter.h"

struct CUstream_st;

namespace bottomup {

using CudaStream = CUstream_st *; // cudaStream_t

/// What CudaClustering finds, in its device memory: valid once the stream has come there, until the
/// next call.
struct DeviceClusters {
  const int32_t *labels;       // (H, W), 1..n in order of first appearance; 0 outside the mask
  const int32_t *num_segments; // n
  const float *score;          // (H, W), |cos| between a pixel and the mode of its segment
  const float *modes;          // (max_modes, D) unit lines, the best supported first
  const int32_t *support;      // (max_modes), pixels in the window of each mode
  const int32_t *num_modes;
  const int32_t *status; // 0 unless the features contain NaN or Inf
};

/// `cluster` on the GPU, for features of one size. All memory is taken when it is made. Partitions
/// are those of `cluster` where segments are apart; up to 1024 modes and 8 rounds. With the option
/// `fast` products are of float16 where the GPU has tensor cores for it.
class BOTTOMUP_API CudaClustering {
public:
  CudaClustering(int64_t dimensions, int64_t height, int64_t width,
                 const ClusterOptions &options = {});
  ~CudaClustering();
  CudaClustering(CudaClustering &&) noexcept;

  /// Clusters features in device memory; `mask`, (H, W) in device memory, tells the pixels that
  /// take part; null for all. Never waits for the device, so that the stream may be being captured.
  /// One call after another: the memory is used by each.
  void enqueue(const FeatureView &features, const bool *mask, CudaStream stream);

  const DeviceClusters &clusters() const;

  /// Waits for the stream and copies the result. Throws Error for features with NaN or Inf.
  Clusters read(CudaStream stream) const;

private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// A network made ready for inputs of one size, used by one thread at a time.
class BOTTOMUP_API CudaNetworkContext {
public:
  virtual ~CudaNetworkContext() = default;

  /// Computes (D, H, W) features and, where `foreground` is not null, (H, W) logits from a
  /// (3, H, W) image and the (y, x) of its corner in the whole picture, all in device memory. Must
  /// not wait for the device: from the second call with the same memory on it may be captured.
  virtual void enqueue(const float *image, const float *corner, float *features, float *foreground,
                       CudaStream stream) = 0;
};

/// A network on a GPU. A Segmenter of it clusters there, too, where it can: images of one tile and
/// models that do not cluster by region. The work on all views of an image, patches included, is
/// then one CUDA graph, captured when their sizes occur for the second time and replayed from then
/// on; pieces, merging and scores are computed on the CPU. Other images come back as features.
/// Several threads take turns on the GPU.
class BOTTOMUP_API CudaNetwork : public FeatureExtractor {
public:
  /// `dimensions` of the features.
  explicit CudaNetwork(int64_t dimensions);
  ~CudaNetwork() override;

  /// The size that images of a size are padded to, by repeating their last row and column.
  virtual ImageSize padded(ImageSize size) const { return size; }

  /// Called with sizes that `padded` gives, on the network's device.
  virtual std::unique_ptr<CudaNetworkContext> prepare(ImageSize size) const = 0;

  /// To the device, through the network, and back.
  void extract(const NetworkInput &input, float *features, float *foreground) const override;

  struct State;
  State &state() const { return *state_; }

private:
  std::unique_ptr<State> state_;
};

} // namespace bottomup
