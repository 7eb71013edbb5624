// What all formats of exported models share: the metadata, and the size of the network's input.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "bottomup/model_file.h"

namespace bottomup {

/// What an exported file says about itself, text by name, as `bottomup export` writes it.
struct ExportDescription {
  ModelSettings settings;           // without mean and deviation, which are inside
  std::vector<int64_t> resolutions; // sides the file is made for; none: any multiple of 32
  std::string runtime;              // version of what compiled it
  std::string device;
  bool takes_origin = false;
};

/// Throws Error, naming the file, if it is of another program, version or format.
ExportDescription describe_export(const std::string &path, const std::string &format,
                                  const std::map<std::string, std::string> &metadata);

/// The whole file. Throws Error unless it ends in the SHA-256 of what stands before.
std::string check_seal(const std::string &path);

/// Height and width of a network's input for an image of a size. Throws Error, naming `path`, where
/// the image is too large.
std::pair<int64_t, int64_t> padded_size(int64_t height, int64_t width,
                                        const ExportDescription &description,
                                        const std::string &path);

/// A network's input with its last rows and columns repeated up to a size that the network takes.
struct PaddedInput {
  PaddedInput(const NetworkInput &input, const ExportDescription &description,
              const std::string &path);

  int64_t height = 0, width = 0;
  std::vector<float> image; // (3, height, width)
};

/// Copies the (maps, H, W) that belong to the input out of a network's (maps, rows, columns).
void crop_output(const float *output, int64_t maps, const PaddedInput &padded,
                 const NetworkInput &input, float *result);

/// What an AOTInductor package says about itself, and the model in it.
struct AotiPackage {
  std::map<std::string, std::string> metadata;
  Model model;
};

/// Throws Error where the library was built without libtorch.
AotiPackage open_aoti(const std::string &path, int threads);

} // namespace bottomup
