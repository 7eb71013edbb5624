"""Models as files for other runtimes: ONNX, AOTInductor packages, TensorRT engines.

The names below are resolved when first used, so that importing this package imports no runtime.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bottomup_fast.export.aoti import export_aoti, load_aoti
    from bottomup_fast.export.check import Comparison, compare
    from bottomup_fast.export.description import Description
    from bottomup_fast.export.exported_network import ExportedNetwork
    from bottomup_fast.export.onnx_assign import export_onnx_assign
    from bottomup_fast.export.onnx_cluster import cluster_op, register_cluster
    from bottomup_fast.export.onnx_file import export_onnx, load_onnx
    from bottomup_fast.export.onnx_labels import load_onnx_labels
    from bottomup_fast.export.tensorrt_engine import EngineOptions, export_tensorrt, read_engine
    from bottomup_fast.export.tensorrt_network import load_tensorrt

_HOMES = {
    "Comparison": "check",
    "Description": "description",
    "EngineOptions": "tensorrt_engine",
    "ExportedNetwork": "exported_network",
    "cluster_op": "onnx_cluster",
    "compare": "check",
    "export_aoti": "aoti",
    "export_onnx": "onnx_file",
    "export_onnx_assign": "onnx_assign",
    "export_tensorrt": "tensorrt_engine",
    "load_aoti": "aoti",
    "load_onnx": "onnx_file",
    "load_onnx_labels": "onnx_labels",
    "load_tensorrt": "tensorrt_network",
    "read_engine": "tensorrt_engine",
    "register_cluster": "onnx_cluster",
}

__all__ = [
    "Comparison",
    "Description",
    "EngineOptions",
    "ExportedNetwork",
    "cluster_op",
    "compare",
    "export_aoti",
    "export_onnx",
    "export_onnx_assign",
    "export_tensorrt",
    "load_aoti",
    "load_onnx",
    "load_onnx_labels",
    "load_tensorrt",
    "read_engine",
    "register_cluster",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
