"""What the project's ONNX files have in common, readable without torch."""

from __future__ import annotations

from importlib import import_module
from typing import Any

OPSET = 18
# A last metadata entry "sha256" as protobuf writes it, up to its 64 bytes of value.
CHECKSUM_ENTRY = b"\x72\x4a\x0a\x06sha256\x12\x40"


def require(package: str) -> Any:
    """Import a package of the `export` extra.

    Raises:
        ImportError: one line that says how to install it.
    """
    try:
        return import_module(package)
    except ImportError as error:
        raise ImportError(f"{package} is missing: pip install 'bottomup-fast[export]'") from error
