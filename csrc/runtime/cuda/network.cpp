#include "runtime/cuda/network.h"

#include "runtime/padding.h"

namespace bottomup {

CudaNetwork::CudaNetwork(int64_t dimensions) : state_(new State(dimensions)) {}

CudaNetwork::~CudaNetwork() = default;

void CudaNetwork::extract(const NetworkInput &input, float *features, float *foreground) const {
  const ImageSize size{input.height, input.width}, padded_size = padded(size);
  const int64_t pixels = padded_size.height * padded_size.width;
  std::vector<float> image(3 * pixels), output((state_->dimensions + 1) * pixels);
  pad(input.image, size, padded_size, image.data());
  const float corner[] = {static_cast<float>(input.y), static_cast<float>(input.x)};

  const std::lock_guard turn(state_->turn);
  const DeviceScope scope(state_->device);
  float *image_there = nullptr, *corner_there = nullptr, *features_there = nullptr,
        *logits_there = nullptr;
  const auto cut = [&](void *memory) {
    Workspace parts(memory);
    image_there = parts.take<float>(3 * pixels);
    corner_there = parts.take<float>(2);
    features_there = parts.take<float>(state_->dimensions * pixels);
    logits_there = parts.take<float>(pixels);
    return parts.bytes();
  };
  if (const int64_t bytes = cut(nullptr); bytes > state_->memory.bytes()) {
    state_->memory = {}; // first: there may not be room for both
    state_->memory = DeviceMemory(bytes);
  }
  cut(state_->memory.data());
  CudaNetworkContext &context =
      state_->contexts.get(padded_size, [&] { return prepare(padded_size); });
  const Stream &stream = state_->stream;
  enqueue_copy(image_there, image.data(), 3 * pixels, stream);
  enqueue_copy(corner_there, corner, 2, stream);
  context.enqueue(image_there, corner_there, features_there, foreground ? logits_there : nullptr,
                  stream);
  float *logits = output.data() + state_->dimensions * pixels;
  enqueue_copy(output.data(), features_there, state_->dimensions * pixels, stream);
  if (foreground)
    enqueue_copy(logits, logits_there, pixels, stream);
  stream.wait();
  crop(output.data(), state_->dimensions, size, padded_size, features);
  if (foreground)
    crop(logits, 1, size, padded_size, foreground);
}

} // namespace bottomup
