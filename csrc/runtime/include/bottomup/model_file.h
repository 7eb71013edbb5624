// Models in files that `bottomup export` has written.
#pragma once

#include <memory>
#include <string>

#include "bottomup/segmenter.h"
#include "bottomup/types.h"

namespace bottomup {

/// A network and the settings to use it with. The file normalises images by mean and deviation, so
/// that those of the settings are 0 and 1.
struct Model {
  ModelSettings settings;
  std::shared_ptr<const FeatureExtractor> network;
};

/// Opens an AOTInductor package (".pt2") or a TensorRT engine (".engine") where the library was
/// built with what runs it. `threads` of the network on the CPU, for the whole process: 0 for
/// libtorch's own choice. Both are programs: open only what you trust. Throws Error naming the
/// file.
BOTTOMUP_API Model open_model(const std::string &path, int threads = 0);

} // namespace bottomup
