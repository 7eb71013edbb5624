// The ops bottomup_fast::pieces, join_fragments, refine and segment_scores, on CPU tensors.
#include <torch/csrc/stable/library.h>

#include <algorithm>
#include <tuple>
#include <vector>

#include "bottomup/merging.h"
#include "merging/label_maps.h"
#include "merging/pieces.h"
#include "torch/tensors.h"

namespace bottomup {
namespace {

/// What `work` gives; throws "op: message" for bad input.
template <typename Work> auto checked(const char *op, const Work &work) {
  try {
    return work();
  } catch (const Error &error) {
    throw std::runtime_error(std::string(op) + ": " + error.what());
  }
}

LabelMap to_labels(const Tensor &labels, const char *name, const char *op) {
  check(labels.is_cpu() && labels.scalar_type() == ScalarType::Int && labels.dim() == 2, op,
        std::string(name) + " must be int32 of shape (H, W), on the CPU");
  check(labels.numel() > 0, op, std::string(name) + " must have pixels");
  const Tensor dense = torch::stable::contiguous(labels);
  LabelMap map(labels.size(0), labels.size(1));
  std::copy_n(dense.const_data_ptr<int32_t>(), map.size(), map.values.data());
  return map;
}

Tensor to_tensor(const LabelMap &labels, const Tensor &like) {
  const Tensor result =
      torch::stable::new_empty(like, {labels.height, labels.width}, ScalarType::Int);
  std::ranges::copy(labels.values, result.mutable_data_ptr<int32_t>());
  return result;
}

Tensor to_tensor(const std::vector<double> &values, const Tensor &like) {
  const auto count = static_cast<int64_t>(values.size());
  const Tensor result = torch::stable::new_empty(like, {count}, ScalarType::Double);
  std::ranges::copy(values, result.mutable_data_ptr<double>());
  return result;
}

Tensor pieces_op(Tensor index, Tensor modes, bool split, int64_t min_area) {
  constexpr const char *kOp = "pieces";
  const LabelMap map = to_labels(index, "index", kOp);
  check(modes.is_cpu() && modes.scalar_type() == ScalarType::Float && modes.dim() == 2, kOp,
        "modes must be float32 of shape (M, D), on the CPU");
  const int64_t count = modes.size(0);
  const auto [least, largest] = std::ranges::minmax(map.values);
  check(least >= -1 && (largest < count || count == 0), kOp,
        "index names a mode that is not there");
  modes = torch::stable::contiguous(modes);
  return checked(kOp, [&] {
    return to_tensor(
        pieces(map, modes.const_data_ptr<float>(), count, modes.size(1), split, min_area), index);
  });
}

Tensor join_fragments_op(Tensor labels, Tensor coarse, double min_area) {
  constexpr const char *kOp = "join_fragments";
  const LabelMap map = to_labels(labels, "labels", kOp);
  const LabelMap wholes = to_labels(coarse, "coarse", kOp);
  return checked(kOp, [&] { return to_tensor(join_fragments(map, wholes, min_area), labels); });
}

/// `patches` are the labels of all patches, one after another, and `boxes` where each lies.
Tensor refine_op(Tensor labels, Tensor patches, Tensor boxes, int64_t min_area, double refine_iou,
                 double contain) {
  constexpr const char *kOp = "refine";
  const LabelMap map = to_labels(labels, "labels", kOp);
  check(patches.is_cpu() && patches.scalar_type() == ScalarType::Int && patches.dim() == 1, kOp,
        "patches must be int32 of one dimension, on the CPU");
  check(boxes.is_cpu() && boxes.scalar_type() == ScalarType::Long && boxes.dim() == 2 &&
            boxes.size(1) == 4,
        kOp, "boxes must be int64 of shape (P, 4), on the CPU");
  patches = torch::stable::contiguous(patches);
  boxes = torch::stable::contiguous(boxes);
  const int32_t *next = patches.const_data_ptr<int32_t>(), *end = next + patches.numel();
  const int64_t *box = boxes.const_data_ptr<int64_t>();
  std::vector<Patch> finer;
  for (int64_t i = 0; i < boxes.size(0); ++i, box += 4) {
    const int64_t x0 = box[0], y0 = box[1], x1 = box[2], y1 = box[3];
    check(0 <= x0 && x0 < x1 && x1 <= map.width && 0 <= y0 && y0 < y1 && y1 <= map.height, kOp,
          "boxes must lie in the image and have pixels");
    LabelMap patch(y1 - y0, x1 - x0);
    check(patch.size() <= end - next, kOp, "patches must have a label for every pixel of boxes");
    std::copy_n(next, patch.size(), patch.values.data());
    next += patch.size();
    finer.push_back({std::move(patch), x0, y0, x1, y1});
  }
  check(next == end, kOp, "patches must have a label for every pixel of boxes");
  return checked(
      kOp, [&] { return to_tensor(refine(map, finer, {min_area, refine_iou, contain}), labels); });
}

std::tuple<Tensor, Tensor, Tensor> segment_scores_op(Tensor labels, Tensor likeness, Tensor cosine,
                                                     double bandwidth_deg) {
  constexpr const char *kOp = "segment_scores";
  const LabelMap map = to_labels(labels, "labels", kOp);
  checked(kOp, [&] { check_labels(map, 0, "labels"); });
  for (const auto &[name, values] : {std::pair("likeness", &likeness), {"cosine", &cosine}}) {
    check(values->is_cpu() && values->scalar_type() == ScalarType::Float && values->dim() == 2 &&
              values->size(0) == map.height && values->size(1) == map.width,
          kOp, std::string(name) + " must be float32 of the shape of labels, on the CPU");
    *values = torch::stable::contiguous(*values);
  }
  check_window(bandwidth_deg, 1, kOp);
  const SegmentScores scores = segment_scores(map, likeness.const_data_ptr<float>(),
                                              cosine.const_data_ptr<float>(), bandwidth_deg);
  return {to_tensor(scores.likeness, labels), to_tensor(scores.cosine, labels),
          to_tensor(scores.stability, labels)};
}

} // namespace

STABLE_TORCH_LIBRARY_IMPL(bottomup_fast, CPU, library) {
  library.impl("pieces", TORCH_BOX(&pieces_op));
  library.impl("join_fragments", TORCH_BOX(&join_fragments_op));
  library.impl("refine", TORCH_BOX(&refine_op));
  library.impl("segment_scores", TORCH_BOX(&segment_scores_op));
}

} // namespace bottomup
