"""What the project's ONNX files have in common, readable without torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from bottomup_fast.errors import InputError

OPSET = 18
# A last metadata entry "sha256" as protobuf writes it, up to its 64 bytes of value.
CHECKSUM_ENTRY = b"\x72\x4a\x0a\x06sha256\x12\x40"
# The entry of the domain `bottomup` in `opset_import`: a file has it only with the operator.
_CLUSTER_ENTRY = b"\x42\x0c\x0a\x08bottomup\x10\x01"


def require(package: str) -> Any:
    """Import a package of the `export` extra.

    Raises:
        ImportError: one line that says how to install it.
    """
    try:
        return import_module(package)
    except ImportError as error:
        raise ImportError(f"{package} is missing: pip install 'bottomup-fast[export]'") from error


def has_clustering(content: bytes) -> bool:
    """Whether an ONNX file ends with the operator `Cluster`, which onnxruntime does not know."""
    return _CLUSTER_ENTRY in content


def open_session(
    onnxruntime: Any, path: str | os.PathLike[str], content: bytes, threads: int | None
) -> tuple[Any, Mapping[str, str]]:
    """A model in onnxruntime on the CPU, and its metadata.

    Args:
        onnxruntime: the package.
        path: of the model's file, for errors.
        content: the model.
        threads: for one image; onnxruntime's own choice by default.

    Raises:
        InputError: onnxruntime cannot load it.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised, too
    # Threads that spin after a run would take the cores from the clustering.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        return session, session.get_modelmeta().custom_metadata_map
    except Exception as error:  # its own exceptions have no common base but this
        reason = " ".join(str(error).split())
        raise InputError(
            f"{os.fspath(path)}: onnxruntime {onnxruntime.__version__} cannot load it ({reason}); "
            "export the model again"
        ) from error
