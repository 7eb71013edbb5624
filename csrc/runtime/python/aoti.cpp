// AOTInductor packages for `bottomup_fast.runtime`. A module of its own: it needs libtorch.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <torch/version.h>

#include <optional>
#include <string>

#include "runtime/export_file.h"
#include "runtime/python/errors.h"

namespace py = pybind11;

namespace bottomup {
namespace {

using Array = py::array_t<float, py::array::c_style | py::array::forcecast>;

/// A network as `runtime.Segmenter` calls one.
class AotiModule {
public:
  AotiModule(const std::string &path, int threads) : package_(open(path, threads)) {}

  std::map<std::string, std::string> metadata() const { return package_.metadata; }

  py::tuple run(const Array &image, int64_t y, int64_t x) const {
    if (image.ndim() != 3 || image.shape(0) != 3 || image.size() == 0)
      throw Error("image: expected (3, H, W)");
    const ArchitectureSettings &architecture = package_.model.settings.architecture;
    const NetworkInput input{image.data(), image.shape(1), image.shape(2), y, x};
    Array features({architecture.feature_dim, input.height, input.width});
    std::optional<Array> logits;
    if (architecture.foreground)
      logits.emplace(std::vector<int64_t>{input.height, input.width});
    float *features_data = features.mutable_data();
    float *logits_data = logits ? logits->mutable_data() : nullptr;
    {
      const py::gil_scoped_release release;
      package_.model.network->extract(input, features_data, logits_data);
    }
    return py::make_tuple(features, logits);
  }

private:
  static AotiPackage open(const std::string &path, int threads) {
    const py::gil_scoped_release release;
    return open_aoti(path, threads);
  }

  AotiPackage package_;
};

} // namespace
} // namespace bottomup

PYBIND11_MODULE(_runtime_aoti, module) {
  using namespace bottomup;
  raise_input_errors();
  module.attr("torch_version") = TORCH_VERSION;
  py::class_<AotiModule>(module, "Network")
      .def(py::init<const std::string &, int>())
      .def_property_readonly("metadata", &AotiModule::metadata)
      .def("run", &AotiModule::run);
}
