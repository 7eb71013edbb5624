// The library in Python, for `bottomup_fast.runtime`: numpy arrays in and out, no torch. Checks of
// arguments are made there.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bottomup.h"
#include "bottomup/clustering.h"
#include "bottomup/merging.h"
#include "bottomup/segmenter.h"
#include "common/simd.h"
#include "runtime/python/errors.h"

namespace py = pybind11;

namespace bottomup {
namespace {

template <typename T> using Array = py::array_t<T, py::array::c_style | py::array::forcecast>;
using Release = py::gil_scoped_release;

/// An array that owns what was in the vector.
template <typename T> Array<T> to_array(std::vector<T> values, std::vector<int64_t> shape) {
  auto *owned = new std::vector<T>(std::move(values));
  const py::capsule base(owned, [](void *memory) { delete static_cast<std::vector<T> *>(memory); });
  return Array<T>(shape, owned->data(), base);
}

template <typename T> Array<T> to_array(Grid<T> grid) {
  return to_array(std::move(grid.values), {grid.height, grid.width});
}

LabelMap to_labels(const Array<int32_t> &labels) {
  LabelMap map(labels.shape(0), labels.shape(1));
  std::copy_n(labels.data(), map.size(), map.values.data());
  return map;
}

Array<int32_t> cluster_array(const Array<float> &features, const std::optional<Array<bool>> &mask,
                             double bandwidth_deg, int64_t min_support, bool fast) {
  const FeatureView view =
      FeatureView::planar(features.data(), features.shape(0), features.shape(1), features.shape(2));
  const bool *chosen = mask ? mask->data() : nullptr;
  const ClusterOptions options{
      .bandwidth_deg = bandwidth_deg, .min_support = min_support, .fast = fast};
  LabelMap labels;
  {
    const Release release;
    labels = cluster(view, chosen, options).labels;
  }
  return to_array(std::move(labels));
}

py::tuple mean_shift_array(const Array<float> &points, const Array<float> &seeds,
                           double bandwidth_deg, double tolerance, int64_t max_steps) {
  const int64_t count = seeds.shape(0), dimensions = seeds.shape(1), num_points = points.shape(0);
  const float *lines = points.data(), *starts = seeds.data();
  ShiftedSeeds found;
  {
    const Release release;
    found = mean_shift(lines, num_points, starts, count, dimensions, bandwidth_deg, tolerance,
                       max_steps);
  }
  return py::make_tuple(to_array(std::move(found.modes), {count, dimensions}),
                        to_array(std::move(found.support), {count}));
}

py::tuple assign_array(const Array<float> &features, const Array<float> &modes) {
  const int64_t height = features.shape(1), width = features.shape(2), count = modes.shape(0);
  const FeatureView view = FeatureView::planar(features.data(), features.shape(0), height, width);
  const float *lines = modes.data();
  Assignment found;
  {
    const Release release;
    found = assign(view, lines, count);
  }
  return py::make_tuple(to_array(std::move(found.index), {height, width}),
                        to_array(std::move(found.score), {height, width}));
}

using PatchArrays = std::vector<std::pair<Array<int32_t>, std::array<int64_t, 4>>>;

Array<int32_t> refine_array(const Array<int32_t> &labels, const PatchArrays &finer,
                            int64_t min_area, double refine_iou, double contain) {
  const LabelMap coarse = to_labels(labels);
  std::vector<Patch> patches;
  for (const auto &[map, box] : finer)
    patches.push_back({to_labels(map), box[0], box[1], box[2], box[3]});
  LabelMap refined;
  {
    const Release release;
    refined = refine(coarse, patches, {min_area, refine_iou, contain});
  }
  return to_array(std::move(refined));
}

template <typename Work> Array<int32_t> on_labels(const Array<int32_t> &labels, const Work &work) {
  const LabelMap map = to_labels(labels);
  LabelMap result;
  {
    const Release release;
    result = work(map);
  }
  return to_array(std::move(result));
}

/// A function (image (3, H, W), y, x) -> (features (D, H, W), logits (H, W) or None).
class PythonNetwork : public FeatureExtractor {
public:
  PythonNetwork(py::function function, int64_t feature_dim)
      : function_(std::move(function)), feature_dim_(feature_dim) {}

  ~PythonNetwork() override {
    const py::gil_scoped_acquire acquire;
    function_ = py::function();
  }

  void extract(const NetworkInput &input, float *features, float *foreground) const override {
    const py::gil_scoped_acquire acquire;
    const Array<float> image({int64_t{3}, input.height, input.width}, input.image);
    const py::tuple output = function_(image, input.y, input.x);
    copy(output[0], {feature_dim_, input.height, input.width}, "features", features);
    if (foreground)
      copy(output[1], {input.height, input.width}, "foreground", foreground);
  }

private:
  static void copy(const py::object &from, const std::vector<int64_t> &shape,
                   const std::string &name, float *to) {
    const auto array = Array<float>::ensure(from);
    if (!array)
      throw py::error_already_set();
    if (array.ndim() != static_cast<int64_t>(shape.size()) ||
        !std::equal(shape.begin(), shape.end(), array.shape()))
      throw Error("network: " + name + " have another shape than the settings say");
    std::copy_n(array.data(), array.size(), to);
  }

  py::function function_;
  int64_t feature_dim_;
};

py::tuple segment_array(const Segmenter &segmenter, const py::array &pixels) {
  const ImageView image{pixels.data(), pixels.shape(0), pixels.shape(1),
                        static_cast<int>(pixels.shape(2)), static_cast<int>(8 * pixels.itemsize())};
  Segmentation found;
  {
    const Release release;
    found = segmenter.segment(image);
  }
  const int64_t count = found.num_segments();
  const auto &[prepare, network, cluster, merge] = found.seconds;
  return py::make_tuple(to_array(std::move(found.labels)),
                        to_array(std::move(found.scores), {count}),
                        to_array(std::move(found.predicted_iou), {count}),
                        to_array(std::move(found.stability_score), {count}),
                        py::make_tuple(prepare, network, cluster, merge));
}

std::unique_ptr<Segmenter> make_segmenter(const std::string &settings, const std::string &source,
                                          py::function network, std::vector<int64_t> resolutions,
                                          std::optional<double> scale, bool keep_background,
                                          bool leave_outliers, int64_t tile_size) {
  ModelSettings parsed = parse_settings(settings, source);
  const int64_t feature_dim = parsed.architecture.feature_dim;
  return std::make_unique<Segmenter>(
      std::move(parsed), std::make_shared<PythonNetwork>(std::move(network), feature_dim),
      SegmenterOptions{std::move(resolutions), scale, keep_background, leave_outliers, tile_size});
}

} // namespace
} // namespace bottomup

PYBIND11_MODULE(_runtime, module) {
  using namespace bottomup;
  raise_input_errors();
  module.attr("version") = BOTTOMUP_VERSION;
  module.def("cluster", cluster_array);
  module.def("mean_shift", mean_shift_array);
  module.def("assign", assign_array);
  module.def("refine", refine_array);
  module.def("join_fragments",
             [](const Array<int32_t> &labels, const Array<int32_t> &coarse, double min_area) {
               const LabelMap wholes = to_labels(coarse);
               return on_labels(labels, [&](const LabelMap &map) {
                 return join_fragments(map, wholes, min_area);
               });
             });
  module.def("relabel_by_appearance",
             [](const Array<int32_t> &labels) { return on_labels(labels, relabel_by_appearance); });
  module.def("split_components", [](const Array<int32_t> &labels, int connectivity) {
    return on_labels(labels,
                     [&](const LabelMap &map) { return split_components(map, connectivity); });
  });
  module.def("fold_specks", [](const Array<int32_t> &labels, int64_t min_area) {
    return on_labels(labels, [&](const LabelMap &map) { return fold_specks(map, min_area); });
  });
  module.def("check_settings", [](const std::string &settings, const std::string &source) {
    parse_settings(settings, source);
  });
  module.def("set_helper_threads", set_helper_threads);
  module.def("cpu_path", [] { return name(selected_simd()); });
  py::class_<Segmenter>(module, "Segmenter")
      .def(py::init(&make_segmenter))
      .def("segment", segment_array);
}
