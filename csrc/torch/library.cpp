// The schemas of the ops; each op's file in this folder registers what it runs on.
#include <torch/csrc/stable/library.h>

STABLE_TORCH_LIBRARY(bottomup_fast, library) {
  library.def("assign(Tensor features, Tensor modes, Tensor num_modes, bool fast=False) -> "
              "(Tensor, Tensor)");
  library.def(
      "target_lines(Tensor features, Tensor labels, int num_entities, bool fast) -> Tensor");
  library.def(
      "contrast_samples(Tensor labels, Tensor easy, Tensor lines, Tensor seeds, int queries, "
      "int negatives) -> (Tensor, Tensor)");
  library.def("losses(Tensor features, Tensor labels, Tensor lines, Tensor weights, Tensor seeds, "
              "int normaliser, int queries, int negatives, bool fast, bool with_gradient) -> "
              "(Tensor, Tensor, Tensor)");
  library.def("mean_shift(Tensor points, Tensor seeds, float bandwidth_deg, float tolerance, "
              "int max_steps) -> (Tensor, Tensor)");
  library.def("cluster(Tensor features, Tensor? mask, float bandwidth_deg, int min_support, "
              "int rounds, int max_modes, bool fast) -> "
              "(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)");
  library.def("cluster_regions(Tensor points, Tensor regions, float bandwidth_deg, "
              "int min_support) -> (Tensor, Tensor, Tensor)");
  library.def("pieces(Tensor index, Tensor modes, bool split, int min_area) -> Tensor");
  library.def("join_fragments(Tensor labels, Tensor coarse, float min_area) -> Tensor");
  library.def("refine(Tensor labels, Tensor patches, Tensor boxes, int min_area, float refine_iou, "
              "float contain) -> Tensor");
  library.def("segment_scores(Tensor labels, Tensor likeness, Tensor cosine, "
              "float bandwidth_deg) -> (Tensor, Tensor, Tensor)");
}
