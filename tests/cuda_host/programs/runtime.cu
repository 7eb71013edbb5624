// The C++ library on a GPU against itself on the CPU. On the execution model it also counts what
// the runtime was asked for; compiled by nvcc and linked to the library it runs on a GPU.
#include <bottomup/cuda.h>
#include <bottomup/segmenter.h>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "common/launch.h"
#include "runtime/cuda/device.h"

extern "C" int64_t cuda_host_count(const char *what) __attribute__((weak));
extern "C" const char *cuda_host_report() __attribute__((weak));

namespace {

using namespace bottomup;

void expect(bool holds, const std::string &what) {
  if (!holds) {
    std::cerr << "failed: " << what << '\n';
    if (cuda_host_report)
      std::cerr << cuda_host_report() << '\n';
    std::exit(1);
  }
}

void expect_error(const std::function<void()> &work, const std::string &reason) {
  try {
    work();
  } catch (const std::exception &error) {
    expect(std::string(error.what()).find(reason) != std::string::npos, error.what());
    return;
  }
  expect(false, "no error: " + reason);
}

int64_t count(const char *what) { return cuda_host_count ? cuda_host_count(what) : 0; }

/// An array in device memory.
template <typename T> class OnDevice {
public:
  explicit OnDevice(const std::vector<T> &values) : memory_(std::ssize(values) * sizeof(T)) {
    enqueue_copy(data(), values.data(), std::ssize(values), nullptr);
    check_cuda(cudaStreamSynchronize(nullptr), "copying");
  }
  T *data() const { return static_cast<T *>(memory_.data()); }

private:
  DeviceMemory memory_;
};

constexpr int64_t kDimensions = 6;

// ---- clustering

/// (D, H, W): stripes of five lines, turned a little and of either sign.
std::vector<float> stripes(int64_t height, int64_t width) {
  const int64_t pixels = height * width;
  std::vector<float> features(kDimensions * pixels);
  for (int64_t p = 0; p < pixels; ++p) {
    const float sign = p * 2654435761u % 7 < 3 ? -1.0f : 1.0f;
    for (int64_t d = 0; d < kDimensions; ++d) {
      const float noise = static_cast<float>((p * 31 + d * 17) % 23) / 23 - 0.5f;
      const bool main = d == p / width * 5 / height;
      features[d * pixels + p] = sign * ((main ? 2.0f : 0.0f) + 0.3f * noise);
    }
  }
  return features;
}

void expect_same(const Clusters &found, const Clusters &expected) {
  expect(found.num_segments == expected.num_segments, "the number of segments");
  expect(found.labels.values == expected.labels.values, "labels");
  expect(found.support == expected.support, "support");
  expect(found.modes.size() == expected.modes.size(), "the number of modes");
  for (size_t i = 0; i < found.modes.size(); ++i)
    expect(std::abs(found.modes[i] - expected.modes[i]) < 1e-4f, "modes");
  for (size_t i = 0; i < found.score.values.size(); ++i)
    expect(std::abs(found.score.values[i] - expected.score.values[i]) < 1e-4f, "score");
}

void clustering() {
  constexpr int64_t height = 20, width = 13;
  const ClusterOptions options{.min_support = 4, .rounds = 2, .max_modes = 16};
  std::vector<float> features = stripes(height, width);
  const OnDevice<float> there(features);
  const FeatureView view = FeatureView::planar(features.data(), kDimensions, height, width);
  const FeatureView view_there = FeatureView::planar(there.data(), kDimensions, height, width);
  std::vector<float> turned(features.size());
  for (int64_t d = 0; d < kDimensions; ++d)
    for (int64_t p = 0; p < height * width; ++p)
      turned[p * kDimensions + d] = features[d * height * width + p];
  const OnDevice<float> turned_there(turned);
  bool mask[height * width];
  for (int64_t p = 0; p < height * width; ++p)
    mask[p] = p % 3 != 0 && p > 40;
  const OnDevice<char> mask_there(std::vector<char>(mask, mask + height * width));

  const Stream stream;
  CudaClustering plan(kDimensions, height, width, options);
  const int64_t memory = count("allocations");
  plan.enqueue(view_there, nullptr, stream);
  const Clusters all = cluster(view, nullptr, options);
  expect(all.num_segments == 5, "five stripes");
  expect_same(plan.read(stream), all);
  plan.enqueue(view_there, reinterpret_cast<const bool *>(mask_there.data()), stream);
  expect_same(plan.read(stream), cluster(view, mask, options));
  plan.enqueue(FeatureView::interleaved(turned_there.data(), height, width, kDimensions), nullptr,
               stream);
  expect_same(plan.read(stream), all);
  expect(count("allocations") == memory, "memory is taken beforehand");

  features[77] = NAN;
  const OnDevice<float> bad(features);
  plan.enqueue(FeatureView::planar(bad.data(), kDimensions, height, width), nullptr, stream);
  expect_error([&] { plan.read(stream); }, "features contain NaN or Inf");
  plan.enqueue(view_there, nullptr, stream);
  expect_same(plan.read(stream), all);
  expect_error(
      [&] { plan.enqueue(FeatureView::planar(there.data(), 5, height, width), nullptr, stream); },
      "another size");
  expect_error([&] { plan.enqueue({nullptr, kDimensions, height, width}, nullptr, stream); },
               "no data");
  expect_error([] { CudaClustering(3, 4, 4, {.bandwidth_deg = 46}); }, "bandwidth_deg");
  expect_error([] { CudaClustering(0, 4, 4); }, "dimension");
  CudaClustering nothing(3, 0, 4);
  nothing.enqueue(FeatureView::planar(nullptr, 3, 0, 4), nullptr, stream);
  expect(nothing.read(stream).num_segments == 0, "an empty image");
}

// ---- a network and its twin on the CPU: a pixel's feature is its colour, turned a little

__host__ __device__ void colour(const float *image, int64_t pixels, int64_t p, float *features,
                                float *foreground) {
  const float red = image[p], green = image[pixels + p], blue = image[2 * pixels + p];
  const float values[kDimensions] = {red, green, blue, red * green, 0.1f, 0};
  for (int64_t d = 0; d < kDimensions; ++d)
    features[d * pixels + p] = values[d];
  if (foreground)
    foreground[p] = 4 * (red + green + blue) - 2;
}

__global__ void colour_kernel(const float *image, int64_t pixels, float *features,
                              float *foreground) {
  const int64_t p = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (p < pixels)
    colour(image, pixels, p, features, foreground);
}

class Colours : public FeatureExtractor {
public:
  void extract(const NetworkInput &input, float *features, float *foreground) const override {
    for (int64_t p = 0; p < input.height * input.width; ++p)
      colour(input.image, input.height * input.width, p, features, foreground);
  }
};

class ColoursContext : public CudaNetworkContext {
public:
  explicit ColoursContext(ImageSize size) : size_(size) {}

  void enqueue(const float *image, const float *, float *features, float *foreground,
               CudaStream stream) override {
    const int64_t pixels = size_.height * size_.width;
    check_cuda(launch("colour", colour_kernel, grid_of((pixels + 63) / 64), 64, 0, stream, image,
                      pixels, features, foreground));
    if (refuses)
      throw std::runtime_error("refused");
  }

  static inline bool refuses = false;

private:
  ImageSize size_;
};

class ColoursOnGpu : public CudaNetwork {
public:
  ColoursOnGpu() : CudaNetwork(kDimensions) {}

  ImageSize padded(ImageSize size) const override {
    return {(size.height + 15) / 16 * 16, (size.width + 15) / 16 * 16};
  }
  std::unique_ptr<CudaNetworkContext> prepare(ImageSize size) const override {
    return std::make_unique<ColoursContext>(size);
  }
};

ModelSettings settings() {
  ModelSettings model;
  model.name = "colours";
  model.architecture = {"none", kDimensions, true, {}, {}};
  model.preprocessing.mean.fill(0);
  model.preprocessing.std.fill(1);
  model.preprocessing.scale = 1;
  model.clustering.min_support = 4;
  model.clustering.min_area = 3;
  model.clustering.split_components = true;
  return model;
}

struct Picture {
  int64_t height, width;
  std::vector<uint8_t> pixels;

  ImageView view() const { return {pixels.data(), height, width, 3, 8}; }
};

Picture picture(int64_t height, int64_t width, int64_t shift = 0) {
  Picture made{height, width, {}};
  for (int64_t y = 0; y < height; ++y)
    for (int64_t x = 0; x < width; ++x)
      for (int64_t c = 0; c < 3; ++c) {
        const bool bright = ((y * 3 / height + (x + shift) * 3 / width) + c) % 4 == 0;
        made.pixels.push_back(static_cast<uint8_t>((bright ? 220 : 10) + (x * 7 + y * 5) % 11));
      }
  return made;
}

void expect_same(const Segmentation &found, const Segmentation &expected, const std::string &name) {
  expect(found.labels.values == expected.labels.values, name + ": labels");
  for (size_t i = 0; i < expected.scores.size(); ++i)
    expect(std::abs(found.scores[i] - expected.scores[i]) < 1e-4 &&
               std::abs(found.predicted_iou[i] - expected.predicted_iou[i]) < 1e-4,
           name + ": scores");
}

/// Both segmenters on a picture; the labels are those of the CPU.
void compare(const std::string &name, const ModelSettings &model,
             const std::shared_ptr<ColoursOnGpu> &network, const Picture &image,
             const SegmenterOptions &options = {}) {
  const Segmentation expected =
      Segmenter(model, std::make_shared<Colours>(), options).segment(image.view());
  expect(expected.num_segments() > 1, name + ": segments");
  expect_same(Segmenter(model, network, options).segment(image.view()), expected, name);
}

ModelSettings at_resolutions(std::vector<int64_t> resolutions) {
  ModelSettings model = settings();
  model.preprocessing.scale.reset();
  model.preprocessing.resolutions = std::move(resolutions);
  return model;
}

void graphs() {
  const auto network = std::make_shared<ColoursOnGpu>();
  const ModelSettings model = settings();
  const int64_t captures = count("captures"), launches = count("graph launches");
  const auto expect_counts = [&](int64_t captured, int64_t launched) {
    if (cuda_host_count)
      expect(count("captures") == captures + captured &&
                 count("graph launches") == launches + launched,
             "graphs");
  };
  compare("as it is", model, network, picture(12, 16));
  expect_counts(0, 0);
  compare("captured", model, network, picture(12, 16, 3));
  expect_counts(1, 1);
  const int64_t allocations = count("allocations");
  compare("replayed", model, network, picture(12, 16, 5));
  expect_counts(1, 2);
  expect(count("allocations") == allocations, "no memory is taken for a frame");
  compare("another size", model, network, picture(16, 9)); // then the first again
  compare("replayed", model, network, picture(12, 16));
  expect_counts(1, 3);
  compare("captured", model, network, picture(16, 9, 1));
  expect_counts(2, 4);
}

void multiple_resolutions() {
  const auto network = std::make_shared<ColoursOnGpu>();
  const ModelSettings model = at_resolutions({32, 36});
  const int64_t launches = count("graph launches");
  for (int64_t frame = 0; frame < 3; ++frame)
    compare("frame " + std::to_string(frame), model, network, picture(20, 24, frame));
  if (cuda_host_count)
    expect(count("graph launches") == launches + 2, "one graph for all views");
}

template <typename T> SegmenterOptions with(T SegmenterOptions::*option, T value) {
  SegmenterOptions options;
  options.*option = value;
  return options;
}

void ways_of_segmenting() {
  const auto network = std::make_shared<ColoursOnGpu>();
  const Picture image = picture(14, 18);
  ModelSettings model = settings();
  compare("keep background", model, network, image, with(&SegmenterOptions::keep_background, true));
  compare("leave outliers", model, network, image, with(&SegmenterOptions::leave_outliers, true));
  compare("tiles", model, network, picture(14, 50),
          with(&SegmenterOptions::tile_size, int64_t{32}));
  model.architecture.foreground = false;
  compare("no foreground", model, network, image);
  model = settings();
  model.preprocessing.object_diameter = 6;
  compare("two looks", model, network, image);
  model.clustering.by_region = true;
  compare("by region", model, network, image);
  model = settings();
  model.clustering.min_support = 1000;
  compare("no modes", model, network, image);

  model.architecture.feature_dim = 5;
  expect_error([&] { Segmenter(model, network).segment(image.view()); }, "has 6 dimensions");
}

void errors_leave_it_usable() {
  const auto network = std::make_shared<ColoursOnGpu>();
  const Picture image = picture(12, 12);
  const ModelSettings model = settings();
  for (int run = 0; run < 2; ++run) { // while it runs as it is, and while it is captured
    ColoursContext::refuses = true;
    expect_error([&] { Segmenter(model, network).segment(image.view()); }, "refused");
    ColoursContext::refuses = false;
    compare("after an error", model, network, image);
  }
  compare("after an error", model, network, image);
}

void many_threads() {
  const auto network = std::make_shared<ColoursOnGpu>();
  const Segmenter segmenter(settings(), network);
  const Picture image = picture(12, 12);
  const Segmentation expected = segmenter.segment(image.view());
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      for (int run = 0; run < 3; ++run)
        expect_same(segmenter.segment(image.view()), expected, "threads");
    });
  for (std::thread &thread : threads)
    thread.join();
}

} // namespace

int main() {
  set_helper_threads(0);
  clustering();
  graphs();
  multiple_resolutions();
  ways_of_segmenting();
  errors_leave_it_usable();
  many_threads();
  expect(count("memory") == 0, "all memory is given back");
  std::cout << "ok\n";
}
