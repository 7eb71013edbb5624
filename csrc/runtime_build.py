"""The build of `bottomup_fast.runtime`: the C++ library for applications as Python modules.

Used by setup.py only; not part of the package.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pybind11
from setuptools import Extension

FOLDERS = ("meanshift_cpu", "merging", "runtime")
"""Of `csrc`: what the library consists of, beside common/simd.cpp."""
BACKENDS = ("aoti.cpp", "tensorrt.cpp")
"""Sources that need other libraries."""
AOTI = ("aoti", "export_file", "json", "settings", "sha256", "python/aoti")
"""What running AOTInductor packages takes."""


def belongs_to_runtime(source: Path) -> bool:
    """Whether a source file is the library's alone, and none of the torch library's."""
    return "runtime" in source.parts


def runtime_extension(sources: Path, extra: Iterable[str] = ()) -> Extension:
    """Return the extension module `bottomup_fast.runtime._runtime`, which needs no torch.

    Args:
        sources: the folder `csrc`, relative to that of setup.py.
        extra: more flags for compiler and linker, such as sanitizers'.
    """
    files = [sources / "common" / "simd.cpp"]
    files += [file for folder in FOLDERS for file in sorted((sources / folder).glob("*.cpp"))]
    files = [file for file in files if file.name not in BACKENDS]
    files.append(sources / "runtime" / "python" / "runtime.cpp")
    return _extension("_runtime", sources, files, [], extra)


def aoti_extension(
    sources: Path, headers: Iterable[str], libraries: Iterable[str], extra: Iterable[str] = ()
) -> Extension:
    """Return the extension module `bottomup_fast.runtime._runtime_aoti`.

    It does not say where libtorch is: who loads it has loaded that before.

    Args:
        sources: as for `runtime_extension`.
        headers: folders of libtorch's headers.
        libraries: folders of libtorch.
        extra: as for `runtime_extension`.
    """
    files = [sources / "runtime" / f"{name}.cpp" for name in AOTI]
    extension = _extension("_runtime_aoti", sources, files, headers, extra)
    extension.library_dirs = list(libraries)
    extension.libraries = ["torch", "torch_cpu", "c10"]
    return extension


def _extension(
    name: str, sources: Path, files: list[Path], headers: Iterable[str], extra: Iterable[str]
) -> Extension:
    return Extension(
        f"bottomup_fast.runtime.{name}",
        sources=[str(file) for file in files],
        # Absolute, as ninja compiles in a folder of its own.
        include_dirs=[str(sources.resolve()), str(sources.resolve() / "runtime/include")],
        extra_compile_args=[
            *("-std=c++20", "-O3", "-g0", "-ffp-contract=fast", "-fno-math-errno"),
            *("-fno-trapping-math", "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror"),
            *("-Wno-psabi", f"-isystem{pybind11.get_include()}"),
            *(f"-isystem{folder}" for folder in headers),
            *extra,
        ],
        extra_link_args=["-pthread", *extra],
        language="c++",
    )
