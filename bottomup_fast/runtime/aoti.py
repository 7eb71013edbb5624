"""A network in an AOTInductor package, run by the C++ library on libtorch: no torch imported."""

from __future__ import annotations

import ctypes
import os
from functools import cache
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bottomup_fast.errors import InputError
from bottomup_fast.runtime.description import settings_and_sides
from bottomup_fast.runtime.network import FloatArray


class AotiNetwork:
    """A network that `bottomup export --to aoti` has written; several threads may run it at once.

    A package is a program: open only what you trust, as with any shared library.

    Args:
        path: the package, for the CPU.
        threads: of libtorch, for the whole process; its own choice by default.

    Attributes:
        settings: the model's settings, JSON, without `mean` and `std`, which are inside the file.

    Raises:
        InputError: missing, truncated, damaged or foreign package; made by another version of
            torch, for another device or CPU.
        ImportError: torch is not installed, or not the version this package was built with.
    """

    def __init__(self, path: str | os.PathLike[str], threads: int | None = None) -> None:
        name = os.fspath(path)
        if threads is not None and threads < 1:
            raise InputError(f"threads: must be at least 1, got {threads}")
        self._native = _backend().Network(name, threads or 0)
        self.settings, _ = settings_and_sides(name, self._native.metadata, "aoti")

    def __call__(self, image: FloatArray, y: int, x: int) -> tuple[FloatArray, FloatArray | None]:
        """Run the network on one image, as `OnnxNetwork` does."""
        features, logits = self._native.run(image, y, x)
        return features, logits


@cache
def _backend() -> Any:
    """The compiled module. It finds torch's libraries because they are loaded before it."""
    found = find_spec("torch")
    if found is None or not found.submodule_search_locations:
        raise ImportError("AOTInductor packages are run by torch's libraries: pip install torch")
    ctypes.CDLL(str(Path(found.submodule_search_locations[0]) / "lib" / "libtorch.so"))
    installed = metadata.version("torch").partition("+")[0]
    try:
        module = import_module("bottomup_fast.runtime._runtime_aoti")
    except ImportError as error:
        raise ImportError(
            f"AOTInductor packages cannot be run with torch {installed} ({error}); install "
            "bottomup-fast, built with this torch"
        ) from error
    if (built := module.torch_version.partition("+")[0]) != installed:
        raise ImportError(
            f"AOTInductor packages: built with torch {built}, installed is {installed}; install "
            "bottomup-fast anew, built with this torch"
        )
    return module
