"""Builds the compiled parts of the package; everything else stands in pyproject.toml.

The library knows torch by its stable ABI and Python not at all, so that one build serves every
later torch and Python. `bottomup_fast/ops/library.py` loads it; `bottomup_fast.build_info()` tells
what is in it. `bottomup_fast.runtime` is bound to one version of Python by pybind11: without it
(BOTTOMUP_RUNTIME=0) one wheel serves all of them, and runtime/ is the package of the runtime alone.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch
from setuptools import Extension, setup
from torch.utils.cpp_extension import BuildExtension, include_paths, library_paths

os.chdir(Path(__file__).resolve().parent)
SOURCES = Path("csrc").resolve()
sys.path.insert(0, str(SOURCES))
from cuda_toolkit import (  # noqa: E402
    BuildError,
    compile_kernels,
    plan_cuda_build,
    static_runtime,
)
from runtime_build import (  # noqa: E402
    aoti_extension,
    belongs_to_runtime,
    runtime_extension,
)

RUNTIME = os.environ.get("BOTTOMUP_RUNTIME", "1")
if RUNTIME not in ("0", "1"):
    raise SystemExit(f"error: BOTTOMUP_RUNTIME={RUNTIME}: must be 0 or 1")

OLDEST_TORCH = (2, 11)
# Errors of memory and undefined behaviour end the program: for tests, see `make test-sanitizers`.
SANITIZERS = (
    ["-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
    if os.environ.get("BOTTOMUP_SANITIZE") == "1"
    else []
)


def capabilities() -> set[tuple[int, int]]:
    return {torch.cuda.get_device_capability(i) for i in range(torch.cuda.device_count())}


try:
    CUDA = plan_cuda_build(os.environ, capabilities=capabilities)
except BuildError as error:
    raise SystemExit(f"error: {error}") from None


def library() -> Extension:
    print(f"CUDA toolkit {CUDA.toolkit} in {CUDA.root}" if CUDA.root else "no CUDA toolkit")
    print(
        f"building for the CPU only: {CUDA.reason}"
        if CUDA.reason
        else f"building for the CPU and compute capabilities {', '.join(CUDA.architectures)}"
    )
    sources = [file for file in sorted(Path("csrc").rglob("*.cpp")) if not belongs_to_runtime(file)]
    if CUDA.root is None:
        sources.remove(Path("csrc/torch/cuda.cpp"))

    major, minor = OLDEST_TORCH
    return Extension(
        "bottomup_fast._C",
        sources=[str(file) for file in sources],
        include_dirs=[str(SOURCES), str(SOURCES / "runtime" / "include")],
        define_macros=[
            ("TORCH_TARGET_VERSION", f"0x{major:02x}{minor:02x}000000000000ull"),
            # JSON values, written as C strings.
            ("BOTTOMUP_STABLE_ABI", json.dumps(json.dumps(f"{major}.{minor}"))),
            ("BOTTOMUP_CUDA_INFO", json.dumps(json.dumps(CUDA.record()))),
            ("BOTTOMUP_CUDA", "1" if CUDA.root else "0"),
        ],
        extra_compile_args=[
            *("-std=c++20", "-O3", "-g0", "-ffp-contract=fast", "-fno-math-errno"),
            # Comparisons may be made that the program would skip, so that loops vectorise.
            "-fno-trapping-math",
            *("-fvisibility=hidden", "-Wall", "-Wextra", "-Werror"),
            # Functions that return vectors are inlined: they have no calling convention.
            "-Wno-psabi",
            # System headers: a warning in a later torch must not break the build.
            *(f"-isystem{folder}" for folder in include_paths()),
            *([f"-isystem{CUDA.root / 'include'}"] if CUDA.root else []),
            *SANITIZERS,
        ],
        # Sanitizers' symbols come with the program that loads the library.
        extra_link_args=[
            # Linked into the library, so that it loads where there is no CUDA.
            *([f"-L{static_runtime(CUDA.root)}", "-lcudart_static"] if CUDA.root else []),
            *(["-ldl", "-lrt", "-lpthread"] if CUDA.root else []),
            *(SANITIZERS or ["-Wl,--no-undefined"]),
        ],
        library_dirs=library_paths(),
        libraries=["torch_cpu"],
        py_limited_api=True,
    )


class BuildWithKernels(BuildExtension):
    """Compiles the CUDA kernels by nvcc alone: they need no torch, let alone one with CUDA."""

    def build_extensions(self) -> None:
        if CUDA.root is not None:
            kernels = Path(self.build_temp).resolve() / "kernels"
            try:
                self.extensions[0].extra_objects = compile_kernels(CUDA, SOURCES, kernels)
            except BuildError as error:
                raise SystemExit(f"error: {error}") from None
        super().build_extensions()

    def build_extension(self, ext: Extension) -> None:
        # Both extensions compile some of the same files, with other flags.
        shared, self.build_temp = self.build_temp, str(Path(self.build_temp) / ext.name)
        super().build_extension(ext)
        self.build_temp = shared


if RUNTIME == "1":
    extensions = [
        library(),
        runtime_extension(Path("csrc"), SANITIZERS),
        aoti_extension(Path("csrc"), include_paths(), library_paths(), SANITIZERS),
    ]
    tag = {}
else:
    extensions = [library()]
    tag = {"py_limited_api": "cp311"}

setup(
    ext_modules=extensions,
    cmdclass={"build_ext": BuildWithKernels},
    options={"bdist_wheel": tag},
)
