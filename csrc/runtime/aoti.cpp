// Networks that AOTInductor has compiled, run by libtorch.
#include <ATen/Parallel.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/tensor.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>
#include <torch/version.h>

#include <algorithm>
#include <string>
#include <thread>

#include "runtime/export_file.h"

namespace bottomup {
namespace {

using torch::inductor::AOTIModelPackageLoader;

/// The version without what it was built for, such as "+cpu".
std::string plain(const std::string &version) { return version.substr(0, version.find('+')); }

bool runs_here(const std::string &instructions) {
#if defined(__x86_64__)
  if (instructions.find("AVX512") != std::string::npos)
    return __builtin_cpu_supports("avx512f");
  if (instructions.find("AVX2") != std::string::npos)
    return __builtin_cpu_supports("avx2");
#endif
  return true;
}

std::string first_line(const std::string &text) { return text.substr(0, text.find('\n')); }

class AotiNetwork : public FeatureExtractor {
public:
  AotiNetwork(std::string path, ExportDescription description)
      : path_(std::move(path)), description_(std::move(description)),
        // As many runs at a time as there are processors; they share the weights.
        loader_(path_, "model", false, std::max(1u, std::thread::hardware_concurrency())) {}

  void extract(const NetworkInput &input, float *features, float *foreground) const override {
    const c10::InferenceMode guard;
    PaddedInput padded(input, description_, path_);
    std::vector<at::Tensor> inputs{
        at::from_blob(padded.image.data(), {1, 3, padded.height, padded.width}, at::kFloat)};
    if (description_.takes_origin)
      inputs.push_back(
          at::tensor({static_cast<float>(input.y), static_cast<float>(input.x)}).view({1, 2}));
    const std::vector<at::Tensor> outputs = loader_.run(inputs);
    const int64_t dimensions = description_.settings.architecture.feature_dim;
    copy(outputs, 0, dimensions, padded, input, features);
    if (foreground)
      copy(outputs, 1, 1, padded, input, foreground);
  }

private:
  void copy(const std::vector<at::Tensor> &outputs, size_t index, int64_t maps,
            const PaddedInput &padded, const NetworkInput &input, float *result) const {
    const int64_t expected = maps * padded.height * padded.width;
    if (outputs.size() <= index || outputs[index].numel() != expected)
      throw Error(path_ + ": its outputs are not those that its metadata tells");
    const at::Tensor values = outputs[index].to(at::kFloat).contiguous();
    crop_output(values.const_data_ptr<float>(), maps, padded, input, result);
  }

  std::string path_;
  ExportDescription description_;
  mutable AOTIModelPackageLoader loader_; // its runs may be at the same time
};

} // namespace

Model open_aoti(const std::string &path, int threads) {
  check_seal(path);
  try {
    const auto stored = AOTIModelPackageLoader::load_metadata_from_package(path, "model");
    const std::map<std::string, std::string> metadata(stored.begin(), stored.end());
    ExportDescription description = describe_export(path, "aoti", metadata);
    if (plain(description.runtime) != plain(TORCH_VERSION))
      throw Error(path + ": compiled by torch " + description.runtime + ", this is " +
                  TORCH_VERSION + "; export the model again");
    if (description.device != "cpu")
      throw Error(path + ": compiled for " + description.device + ", this backend runs on the CPU");
    const auto instructions = metadata.find("AOTI_CPU_ISA");
    if (instructions != metadata.end() && !runs_here(instructions->second))
      throw Error(path + ": compiled for a CPU with " + instructions->second +
                  ", which this one lacks; export the model on this machine");
    if (threads > 0)
      at::set_num_threads(threads);
    const ModelSettings settings = description.settings;
    return {settings, std::make_shared<AotiNetwork>(path, std::move(description))};
  } catch (const Error &) {
    throw;
  } catch (const std::exception &error) { // the loader throws what it likes
    throw Error(path + ": " + first_line(error.what()));
  }
}

} // namespace bottomup
