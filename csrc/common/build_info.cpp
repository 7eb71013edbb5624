// Tells what is in the library, so that nobody has to trust the log of its build.
#include <string>

#include "common/simd.h"

#if defined(__clang__)
#define BOTTOMUP_COMPILER "clang " __clang_version__
#else
#define BOTTOMUP_COMPILER "g++ " __VERSION__
#endif

/// A JSON object; BOTTOMUP_CUDA_INFO and BOTTOMUP_STABLE_ABI are JSON values set by the build.
extern "C" __attribute__((visibility("default"))) const char *bottomup_build_info() {
  using namespace bottomup;
  static const std::string info = R"({"compiler": ")" BOTTOMUP_COMPILER
                                  R"(", "stable_abi": )" BOTTOMUP_STABLE_ABI
                                  R"(, "cpu": {"path": ")" +
                                  std::string(name(selected_simd())) + R"(", "available": )" +
                                  available_simd_json() + R"(}, "cuda": )" BOTTOMUP_CUDA_INFO "}";
  return info.c_str();
}
