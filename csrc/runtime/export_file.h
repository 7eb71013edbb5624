// What all formats of exported models share: the metadata, and the size of the network's input.
#pragma once

#include <map>
#include <string>
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

/// Throws Error unless the file ends in the SHA-256 of what stands before.
void check_seal(const std::string &path);

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

/// Throws Error where the library was built without libtorch.
Model open_aoti(const std::string &path, int threads);

} // namespace bottomup
