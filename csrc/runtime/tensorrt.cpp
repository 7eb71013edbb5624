// Networks that TensorRT or TensorRT for RTX has compiled.
#include "bottomup/tensorrt.h"

#include <NvInferRuntime.h>

#include <algorithm>
#include <mutex>

#include "bottomup/cuda.h"
#include "runtime/cuda/device.h"
#include "runtime/engine_file.h"

namespace bottomup {
namespace {

#ifdef TRT_MAJOR_RTX
constexpr const char *kLibrary = "tensorrt_rtx";
#else
constexpr const char *kLibrary = "tensorrt";
#endif
constexpr const char *kImage = "image", *kOrigin = "origin";
constexpr const char *kFeatures = "features", *kForeground = "foreground_logits";

/// Library and version, as the Python packages of these names say.
std::string this_runtime() {
  const auto part = [](int32_t number) { return std::to_string(number); };
  return std::string(kLibrary) + " " + part(getInferLibMajorVersion()) + "." +
         part(getInferLibMinorVersion()) + "." + part(getInferLibPatchVersion()) + "." +
         part(getInferLibBuildVersion());
}

/// Keeps the last error, which TensorRT tells nobody else.
class Logger : public nvinfer1::ILogger {
public:
  void log(Severity severity, const char *message) noexcept override {
    if (severity > Severity::kERROR)
      return;
    const std::lock_guard lock(mutex_);
    try {
      last_ = message;
    } catch (...) {
      last_.clear();
    }
  }

  std::string last() const {
    const std::lock_guard lock(mutex_);
    return last_.empty() ? "no reason given" : last_.substr(0, last_.find('\n'));
  }

private:
  mutable std::mutex mutex_;
  std::string last_;
};

/// What contexts need as long as they live.
struct Engine {
  std::string path;
  ExportDescription description;
  Logger logger;
  std::unique_ptr<nvinfer1::IRuntime> runtime;
  std::unique_ptr<nvinfer1::ICudaEngine> engine;

  void check(bool done, const std::string &what) const {
    if (!done)
      throw std::runtime_error(path + ": TensorRT " + what + ": " + logger.last());
  }

  bool has(const char *name, nvinfer1::TensorIOMode mode) const {
    return engine->getTensorIOMode(name) == mode &&
           engine->getTensorDataType(name) == nvinfer1::DataType::kFLOAT;
  }
};

class Context : public CudaNetworkContext {
public:
  Context(std::shared_ptr<const Engine> engine, ImageSize size)
      : engine_(std::move(engine)), context_(create(*engine_->engine)) {
    engine_->check(context_ != nullptr, "has no room for " + std::to_string(size.height) + "x" +
                                            std::to_string(size.width) + " pixels");
    const Stream stream;
    engine_->check(context_->setOptimizationProfileAsync(profile_for(size), stream) &&
                       context_->setInputShape(kImage, {4, {1, 3, size.height, size.width}}) &&
                       (!takes_origin() || context_->setInputShape(kOrigin, {2, {1, 2}})),
                   "refused " + std::to_string(size.height) + "x" + std::to_string(size.width) +
                       " pixels");
    stream.wait();
    if (has_foreground())
      unwanted_ = DeviceMemory(size.height * size.width * static_cast<int64_t>(sizeof(float)));
  }

  void enqueue(const float *image, const float *corner, float *features, float *foreground,
               CudaStream stream) override {
    const auto set = [this](const char *name, const void *data) {
      return context_->setTensorAddress(name, const_cast<void *>(data));
    };
    engine_->check(
        set(kImage, image) && (!takes_origin() || set(kOrigin, corner)) &&
            set(kFeatures, features) &&
            (!has_foreground() || set(kForeground, foreground ? foreground : unwanted_.data())) &&
            context_->enqueueV3(stream),
        "did not run");
  }

private:
  static nvinfer1::IExecutionContext *create(nvinfer1::ICudaEngine &engine) {
#ifdef TRT_MAJOR_RTX
    // Kernels for the very size at once: those that replace others later would miss the graph.
    const std::unique_ptr<nvinfer1::IRuntimeConfig> config(engine.createRuntimeConfig());
    if (!config)
      return nullptr;
    config->setDynamicShapesKernelSpecializationStrategy(
        nvinfer1::DynamicShapesKernelSpecializationStrategy::kEAGER);
    return engine.createExecutionContext(config.get());
#else
    return engine.createExecutionContext();
#endif
  }

  bool takes_origin() const { return engine_->description.takes_origin; }
  bool has_foreground() const { return engine_->description.settings.architecture.foreground; }

  /// Of the smallest resolution that holds the image.
  int32_t profile_for(ImageSize size) const {
    const std::vector<int64_t> &sides = engine_->description.resolutions;
    return static_cast<int32_t>(std::ranges::lower_bound(sides, std::max(size.height, size.width)) -
                                sides.begin());
  }

  std::shared_ptr<const Engine> engine_;
  std::unique_ptr<nvinfer1::IExecutionContext> context_;
  DeviceMemory unwanted_; // logits that nobody asked for
};

class TensorRTNetwork : public CudaNetwork {
public:
  explicit TensorRTNetwork(std::shared_ptr<const Engine> engine)
      : CudaNetwork(engine->description.settings.architecture.feature_dim),
        engine_(std::move(engine)) {}

  ImageSize padded(ImageSize size) const override {
    return padded_size(size, engine_->description, engine_->path);
  }

  std::unique_ptr<CudaNetworkContext> prepare(ImageSize size) const override {
    return std::make_unique<Context>(engine_, size);
  }

private:
  std::shared_ptr<const Engine> engine_;
};

} // namespace

Model open_tensorrt(const std::string &path) {
  EngineFile file = read_engine(path, this_runtime());
  try {
    current_gpu();
  } catch (const Error &error) {
    throw Error(path + ": a TensorRT engine needs a GPU: " + error.what());
  }
  const auto engine = std::make_shared<Engine>();
  engine->path = path;
  engine->description = std::move(file.description);
  engine->runtime.reset(nvinfer1::createInferRuntime(engine->logger));
  engine->check(engine->runtime != nullptr, "does not start");
  engine->engine.reset(
      engine->runtime->deserializeCudaEngine(file.engine.data(), file.engine.size()));
  if (!engine->engine)
    throw Error(path + ": built for " + engine->description.device +
                ", does not run on this GPU: " + engine->logger.last() +
                "; export the model for it");
  const ExportDescription &description = engine->description;
  using Mode = nvinfer1::TensorIOMode;
  if (!engine->has(kImage, Mode::kINPUT) || !engine->has(kFeatures, Mode::kOUTPUT) ||
      (description.takes_origin && !engine->has(kOrigin, Mode::kINPUT)) ||
      (description.settings.architecture.foreground && !engine->has(kForeground, Mode::kOUTPUT)) ||
      engine->engine->getNbOptimizationProfiles() < std::ssize(description.resolutions))
    throw Error(path + ": its inputs, outputs and profiles are not those that its metadata tells");
  return {description.settings, std::make_shared<TensorRTNetwork>(engine)};
}

} // namespace bottomup
