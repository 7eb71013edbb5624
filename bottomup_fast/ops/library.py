"""Loads the compiled library, which registers its ops with torch, and tells what is in it."""

from __future__ import annotations

import ctypes
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bottomup_fast.errors import InputError

LIBRARY = Path(__file__).parent.with_name("_C.abi3.so")
FEATURE_TYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def build_info() -> dict[str, Any]:
    """Tell what is in the compiled library.

    Returns:
        `library`: its file; `compiler`; `stable_abi`: the oldest torch it runs with; `cpu`: the
        `path` (instruction set) in use and those `available` on this processor, of which the
        environment variable BOTTOMUP_CPU can pick another; `cuda`: the version of the `toolkit`
        the build found or None, the `architectures` (compute capabilities) it has kernels for, and
        the `reason` if it has none; `runtime`: the compiled module of
        `bottomup_fast.runtime` for this Python, or None where it is not installed.
    """
    parts = json.loads(_library.bottomup_build_info())
    modules = [LIBRARY.parent / "runtime" / f"_runtime{suffix}" for suffix in EXTENSION_SUFFIXES]
    runtime = next((str(module) for module in modules if module.is_file()), None)
    return {"library": str(LIBRARY), **parts, "runtime": runtime}


@contextmanager
def input_errors(op: str) -> Iterator[None]:
    """Turn what a kernel says about its input into an InputError; compiled code cannot do that."""
    if torch.compiler.is_compiling():
        yield
        return
    try:
        yield
    except RuntimeError as error:
        message = str(error)
        if message.startswith(f"{op}: "):
            raise InputError(message.removeprefix(f"{op}: ")) from None
        raise


def check_features(features: Tensor) -> None:
    """Raise InputError unless this is a (B, D, H, W) map that the ops take; values are not read."""
    check_tensor("features", features)
    if features.ndim != 4:
        raise InputError(f"features must have shape (B, D, H, W), not {tuple(features.shape)}")
    check_type("features", features)


def has_op(tensor: Tensor) -> bool:
    """Whether the ops compute this as well as plain torch: where they run, in float32 or half."""
    known = tensor.dtype in FEATURE_TYPES and tensor.dtype != torch.float64
    return known and tensor.device.type in DEVICES


def check_tensor(name: str, tensor: Tensor) -> None:
    """Raise InputError unless this is a tensor where the ops run."""
    if not isinstance(tensor, Tensor):
        raise InputError(f"{name} must be a torch.Tensor, not {type(tensor).__name__}")
    if tensor.device.type not in DEVICES:
        devices = " and ".join(DEVICES[1:])
        raise InputError(f"{name} is on {tensor.device}, but this build runs on {devices}")


def check_type(name: str, tensor: Tensor) -> None:
    """Raise InputError unless the ops read this type."""
    if tensor.dtype not in FEATURE_TYPES:
        raise InputError(
            f"{name} must be float32, float64, float16 or bfloat16, not {tensor.dtype}"
        )


def check_window(bandwidth_deg: float, min_support: int = 1) -> None:
    """Raise InputError unless mean shift is defined for these settings."""
    # Beyond 45 degrees the step no longer ascends the objective (equations.md, section 10).
    if not 0 < bandwidth_deg <= 45:
        raise InputError(f"bandwidth_deg must be in (0, 45], got {bandwidth_deg}")
    if min_support < 1:
        raise InputError(f"min_support must be at least 1, got {min_support}")


def register_without_gradient(op: str) -> None:
    """Make the op's outputs constants to autograd."""
    torch.library.register_autograd(op, _no_gradient, setup_context=_mark_without_gradient)


def _mark_without_gradient(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.num_inputs = len(inputs)
    ctx.mark_non_differentiable(*(output if isinstance(output, tuple) else (output,)))


def _no_gradient(ctx: Any, *gradients: Tensor | None) -> tuple[None, ...]:
    return (None,) * int(ctx.num_inputs)


def _load(library: Path) -> ctypes.CDLL:
    """Load the compiled library, which registers its ops with torch."""
    build = "build it with: pip install -e . --no-build-isolation"
    if not library.is_file():
        raise ImportError(f"the compiled library {library} is missing; {build}")
    try:
        loaded = ctypes.CDLL(str(library))
    except OSError as error:
        raise ImportError(f"the compiled library cannot be loaded: {error}; {build}") from None
    loaded.bottomup_build_info.restype = ctypes.c_char_p
    return loaded


def _check_cpu_path(requested: str | None) -> None:
    available = build_info()["cpu"]["available"]
    if requested is not None and requested not in available:
        raise InputError(f"BOTTOMUP_CPU={requested}: must be one of {', '.join(available)}")


_library = _load(LIBRARY)
DEVICES = ("meta", "cpu", "cuda") if build_info()["cuda"]["architectures"] else ("meta", "cpu")
"""Where the ops run; on meta tensors they tell shapes."""
_check_cpu_path(os.environ.get("BOTTOMUP_CPU"))
