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

/// What stands before the SHA-256 at the end of a file. Throws Error unless it is that of it.
std::string check_seal(const std::string &path);

/// Of a network's input for an image of a size. Throws Error, naming `path`, where the image is too
/// large.
ImageSize padded_size(ImageSize size, const ExportDescription &description,
                      const std::string &path);

/// What an AOTInductor package says about itself, and the model in it.
struct AotiPackage {
  std::map<std::string, std::string> metadata;
  Model model;
};

/// Throws Error where the library was built without libtorch.
AotiPackage open_aoti(const std::string &path, int threads);

} // namespace bottomup
