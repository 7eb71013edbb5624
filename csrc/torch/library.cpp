// The schemas of the ops; each op's file in this folder registers what it runs on.
#include <torch/csrc/stable/library.h>

STABLE_TORCH_LIBRARY(bottomup_fast, library) {
  library.def("assign(Tensor features, Tensor modes, Tensor num_modes) -> (Tensor, Tensor)");
}
