// TensorRT engines with their description behind them, as `bottomup export` writes them; free of
// TensorRT.
#pragma once

#include <string>

#include "runtime/export_file.h"

namespace bottomup {

struct EngineFile {
  ExportDescription description; // with ascending resolutions, a profile each
  std::string engine;            // as TensorRT takes it
};

/// Throws Error, naming the file, if it is damaged, foreign, or not built by `runtime`: library and
/// version, such as "tensorrt_rtx 1.7.1.116".
EngineFile read_engine(const std::string &path, const std::string &runtime);

} // namespace bottomup
