"""The compiled module, and what is set for the whole of it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from bottomup_fast.errors import InputError

try:
    native: Any = import_module("bottomup_fast.runtime._runtime")
except ImportError as error:
    raise ImportError(
        f"the compiled module of bottomup_fast.runtime cannot be loaded ({error}); it belongs to "
        "one version of Python: install the package with this one"
    ) from error


def set_helper_threads(count: int) -> None:
    """Set the threads that all calls share beside their own; one less than processors at first.

    Raises:
        InputError: unless 0 <= count <= 1024.
    """
    if not 0 <= count <= 1024:
        raise InputError(f"count: {count} is outside [0, 1024]")
    native.set_helper_threads(count)


def cpu_path() -> str:
    """Name the instruction set in use; the environment variable BOTTOMUP_CPU picks another."""
    return str(native.cpu_path())
