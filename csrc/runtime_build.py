"""The build of `bottomup_fast.runtime`: the C++ library for applications as a Python module.

Used by setup.py only; not part of the package.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pybind11
from setuptools import Extension

FOLDERS = ("meanshift_cpu", "runtime")
"""Of `csrc`: what the library consists of, beside common/simd.cpp."""
BACKENDS = ("aoti.cpp", "tensorrt.cpp")
"""Sources that need other libraries; only CMake builds them."""


def belongs_to_runtime(source: Path) -> bool:
    """Whether a source file is the library's alone, and none of the torch library's."""
    return source.parent.name == "runtime"


def runtime_extension(sources: Path, extra: Iterable[str] = ()) -> Extension:
    """Return the extension module `bottomup_fast.runtime._runtime`.

    Args:
        sources: the folder `csrc`, relative to that of setup.py.
        extra: more flags for compiler and linker, such as sanitizers'.
    """
    files = [sources / "common" / "simd.cpp"]
    files += [file for folder in FOLDERS for file in sorted((sources / folder).glob("*.cpp"))]
    return Extension(
        "bottomup_fast.runtime._runtime",
        sources=[str(file) for file in files if file.name not in BACKENDS],
        # Absolute, as ninja compiles in a folder of its own.
        include_dirs=[str(sources.resolve()), str(sources.resolve() / "runtime/include")],
        extra_compile_args=[
            *("-std=c++20", "-O3", "-g0", "-ffp-contract=fast", "-fno-math-errno"),
            *("-fno-trapping-math", "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror"),
            *("-Wno-psabi", f"-isystem{pybind11.get_include()}", *extra),
        ],
        extra_link_args=["-pthread", *extra],
        language="c++",
    )
