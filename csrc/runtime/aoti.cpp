// Networks that AOTInductor has compiled, run by libtorch.
#include <ATen/Parallel.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/tensor.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>
#include <torch/version.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <string>
#include <thread>

#include "runtime/export_file.h"
#include "runtime/padding.h"

namespace bottomup {
namespace {

using torch::inductor::AOTIModelPackageLoader;

/// The version without what it was built for, such as "+cpu".
std::string plain(const std::string &version) { return version.substr(0, version.find('+')); }

/// One of the instructions that this processor lacks, or nothing.
std::string missing_instruction(const std::string &wanted) {
  std::set<std::string> known;
  std::ifstream processor("/proc/cpuinfo");
  for (std::string line; known.empty() && std::getline(processor, line);)
    if (line.starts_with("flags") || line.starts_with("Features")) {
      std::istringstream words(line.substr(line.find(':') + 1));
      known.insert(std::istream_iterator<std::string>(words), {});
    }
  std::istringstream words(wanted);
  for (std::string word; words >> word;)
    if (!known.contains(word))
      return word;
  return {};
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
    const ImageSize size{input.height, input.width};
    const ImageSize padded = padded_size(size, description_, path_);
    std::vector<float> image(3 * padded.height * padded.width);
    pad(input.image, size, padded, image.data());
    std::vector<at::Tensor> inputs{
        at::from_blob(image.data(), {1, 3, padded.height, padded.width}, at::kFloat)};
    if (description_.takes_origin)
      inputs.push_back(
          at::tensor({static_cast<float>(input.y), static_cast<float>(input.x)}).view({1, 2}));
    const std::vector<at::Tensor> outputs = loader_.run(inputs);
    const int64_t dimensions = description_.settings.architecture.feature_dim;
    copy(outputs, 0, {1, dimensions, padded.height, padded.width}, size, features);
    if (foreground)
      copy(outputs, 1, {1, padded.height, padded.width}, size, foreground);
  }

private:
  /// Crops maps of a shape; torch may have them channel by channel or pixel by pixel.
  void copy(const std::vector<at::Tensor> &outputs, size_t index, std::vector<int64_t> shape,
            ImageSize size, float *result) const {
    if (outputs.size() <= index || outputs[index].sizes() != at::IntArrayRef(shape))
      throw Error(path_ + ": its outputs are not those that its metadata tells");
    shape.end()[-2] = size.height;
    shape.end()[-1] = size.width;
    const at::Tensor cropped = outputs[index].narrow(-2, 0, size.height).narrow(-1, 0, size.width);
    at::from_blob(result, shape, at::kFloat).copy_(cropped);
  }

  std::string path_;
  ExportDescription description_;
  mutable AOTIModelPackageLoader loader_; // its runs may be at the same time
};

} // namespace

AotiPackage open_aoti(const std::string &path, int threads) {
  check_seal(path);
  try {
    const auto stored = AOTIModelPackageLoader::load_metadata_from_package(path, "model");
    std::map<std::string, std::string> metadata(stored.begin(), stored.end());
    ExportDescription description = describe_export(path, "aoti", metadata);
    if (plain(description.runtime) != plain(TORCH_VERSION))
      throw Error(path + ": compiled by torch " + description.runtime + ", this is " +
                  TORCH_VERSION + "; export the model again");
    if (description.device != "cpu")
      throw Error(path + ": compiled for " + description.device +
                  ", this backend runs on the CPU; export the model for it");
    // Inductor compiles for the very processor it runs on; another one would end the program.
    if (const std::string missing = missing_instruction(metadata["cpu_instructions"]);
        !missing.empty())
      throw Error(path + ": compiled for a CPU with " + missing +
                  ", which this one lacks; export the model on this machine");
    if (threads > 0)
      at::set_num_threads(threads);
    const ModelSettings settings = description.settings;
    return {std::move(metadata),
            {settings, std::make_shared<AotiNetwork>(path, std::move(description))}};
  } catch (const Error &) {
    throw;
  } catch (const std::exception &error) { // the loader throws what it likes
    throw Error(path + ": not an AOTInductor package (" + first_line(error.what()) +
                "); export the model again");
  }
}

} // namespace bottomup
