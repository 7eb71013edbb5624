"""Bottom-up class-agnostic image segmentation: every pixel of an image to exactly one entity.

The names below are resolved when first used, so that importing the package imports no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bottomup_fast.clustering import cluster, mean_shift
    from bottomup_fast.errors import InputError
    from bottomup_fast.evaluation import average_precision, evaluate_segments
    from bottomup_fast.losses import BottomUpLoss, LossTerms, target_lines
    from bottomup_fast.models.registry import create_model
    from bottomup_fast.models.weights import list_models, load_model
    from bottomup_fast.ops import build_info
    from bottomup_fast.refinement import refine
    from bottomup_fast.segmentation import Segmentation
    from bottomup_fast.segmenter import Segmenter, segment

_HOMES = {
    "BottomUpLoss": "losses",
    "InputError": "errors",
    "LossTerms": "losses",
    "Segmentation": "segmentation",
    "Segmenter": "segmenter",
    "average_precision": "evaluation",
    "build_info": "ops",
    "cluster": "clustering",
    "create_model": "models.registry",
    "evaluate_segments": "evaluation",
    "list_models": "models.weights",
    "load_model": "models.weights",
    "mean_shift": "clustering",
    "refine": "refinement",
    "segment": "segmenter",
    "target_lines": "losses",
}

__version__ = "0.1.0"
__all__ = [
    "BottomUpLoss",
    "InputError",
    "LossTerms",
    "Segmentation",
    "Segmenter",
    "average_precision",
    "build_info",
    "cluster",
    "create_model",
    "evaluate_segments",
    "list_models",
    "load_model",
    "mean_shift",
    "refine",
    "segment",
    "target_lines",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
