// TensorRT engines that `bottomup export` has written; for builds with TensorRT or TensorRT for
// RTX, see BOTTOMUP_TENSORRT in docs/cpp.md.
#pragma once

#include <string>

#include "bottomup/model_file.h"

namespace bottomup {

/// Opens an engine on the current device; its network is a CudaNetwork. Engines are machine code:
/// open only what you trust. Throws Error, naming the file, if it is damaged or foreign, was built
/// by another version or library or for another GPU, or if this build has no TensorRT; Error where
/// there is no usable GPU.
BOTTOMUP_API Model open_tensorrt(const std::string &path);

} // namespace bottomup
