"""Builds the compiled library of the package; everything else stands in pyproject.toml.

The library knows torch by its stable ABI and Python not at all, so that one build serves every
later torch and Python. `bottomup_fast/ops/library.py` loads it; `bottomup_fast.build_info()` tells
what is in it.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from setuptools import Extension, setup
from torch.utils.cpp_extension import BuildExtension, include_paths, library_paths

os.chdir(Path(__file__).resolve().parent)
SOURCES = Path("csrc").resolve()
sys.path.insert(0, str(SOURCES))
from cuda_toolkit import BuildError, plan_cuda_build  # noqa: E402

OLDEST_TORCH = (2, 11)
# Errors of memory and undefined behaviour end the program: for tests, see `make test-sanitizers`.
SANITIZERS = ["-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]


def library() -> Extension:
    try:
        cuda = plan_cuda_build(os.environ)
    except BuildError as error:
        raise SystemExit(f"error: {error}") from None
    print(f"CUDA toolkit {cuda.toolkit} in {cuda.root}" if cuda.root else "no CUDA toolkit")
    print(f"building for the CPU only: {cuda.reason}")

    sanitizers = SANITIZERS if os.environ.get("BOTTOMUP_SANITIZE") == "1" else []

    major, minor = OLDEST_TORCH
    return Extension(
        "bottomup_fast._C",
        sources=sorted(str(file) for file in Path("csrc").rglob("*.cpp")),
        include_dirs=[str(SOURCES)],
        define_macros=[
            ("TORCH_TARGET_VERSION", f"0x{major:02x}{minor:02x}000000000000ull"),
            # JSON values, written as C strings.
            ("BOTTOMUP_STABLE_ABI", json.dumps(json.dumps(f"{major}.{minor}"))),
            ("BOTTOMUP_CUDA_INFO", json.dumps(json.dumps(cuda.record()))),
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
            *sanitizers,
        ],
        # Sanitizers' symbols come with the program that loads the library.
        extra_link_args=sanitizers or ["-Wl,--no-undefined"],
        library_dirs=library_paths(),
        libraries=["torch_cpu"],
        py_limited_api=True,
    )


setup(
    ext_modules=[library()],
    cmdclass={"build_ext": BuildExtension},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
