#include "bottomup/model_file.h"

#include "runtime/export_file.h"

namespace bottomup {

Model open_model(const std::string &path, int threads) {
  if (threads < 0)
    throw Error("threads: must not be negative, got " + std::to_string(threads));
  if (path.ends_with(".pt2"))
    return open_aoti(path, threads);
  throw Error(path + ": expected an AOTInductor package (.pt2)");
}

#if !BOTTOMUP_TORCH
Model open_aoti(const std::string &path, int) {
  throw Error(path + ": this build of bottomup has no libtorch; build it with BOTTOMUP_TORCH=ON");
}
#endif

} // namespace bottomup
