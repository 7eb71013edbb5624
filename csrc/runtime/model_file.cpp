#include "bottomup/model_file.h"

#include "bottomup/tensorrt.h"
#include "runtime/export_file.h"

namespace bottomup {

Model open_model(const std::string &path, int threads) {
  if (threads < 0)
    throw Error("threads: must not be negative, got " + std::to_string(threads));
  if (path.ends_with(".pt2"))
    return open_aoti(path, threads).model;
  if (path.ends_with(".engine"))
    return open_tensorrt(path);
  throw Error(path + ": expected an AOTInductor package (.pt2) or a TensorRT engine (.engine)");
}

#if !BOTTOMUP_TORCH
AotiPackage open_aoti(const std::string &path, int) {
  throw Error(path + ": this build of bottomup has no libtorch; build it with BOTTOMUP_TORCH=ON");
}
#endif

#if !BOTTOMUP_TENSORRT
Model open_tensorrt(const std::string &path) {
  throw Error(path +
              ": this build of bottomup has no TensorRT; build it with BOTTOMUP_TENSORRT=ON");
}
#endif

} // namespace bottomup
