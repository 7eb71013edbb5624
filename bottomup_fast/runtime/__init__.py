"""The C++ library in Python, without torch: clustering and merging on numpy arrays, and models.

Needs numpy alone; for models also onnxruntime, or torch's libraries for AOTInductor packages, which
are loaded without importing torch. Results are those of the functions of the
same names in `bottomup_fast`. All functions let other threads run and may be called by several.
"""

from __future__ import annotations

from bottomup_fast.runtime.aoti import AotiNetwork
from bottomup_fast.runtime.clustering import assign, cluster, mean_shift
from bottomup_fast.runtime.merging import (
    fold_specks,
    join_fragments,
    refine,
    relabel_by_appearance,
    split_components,
)
from bottomup_fast.runtime.module import cpu_path, set_helper_threads
from bottomup_fast.runtime.network import OnnxNetwork
from bottomup_fast.runtime.segmenter import Segmenter, Segments

__all__ = [
    "AotiNetwork",
    "OnnxNetwork",
    "Segmenter",
    "Segments",
    "assign",
    "cluster",
    "cpu_path",
    "fold_specks",
    "join_fragments",
    "mean_shift",
    "refine",
    "relabel_by_appearance",
    "set_helper_threads",
    "split_components",
]
