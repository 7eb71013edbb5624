"""The compiled ops: loads the library and gives every op its Python signature.

Each op has a fake kernel, so `torch.compile(fullgraph=True)`, export and meta tensors work, and
tells autograd where no gradient flows.
"""

from __future__ import annotations

import ctypes
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bottomup_fast.errors import InputError

LIBRARY = Path(__file__).with_name("_C.abi3.so")
FEATURE_TYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
Tensors = tuple[Tensor, Tensor]


def assign(
    features: Tensor, modes: Tensor, num_modes: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Give every pixel to the mode nearest to it as a line (equation 10).

    The features are read once, contiguous or channels-last, and normalised on the way.

    Args:
        features: (B, D, H, W) float32, float64, float16 or bfloat16, of any length and sign.
        modes: (B, M, D) float32 lines of unit length.
        num_modes: (B,) int32, how many of its M modes each image has; all of them by default.

    Returns:
        (B, H, W) int32, the position of the nearest mode: the earliest of equally near ones, so 0
        for a zero feature; -1 in an image without modes. And (B, H, W) float32, |cos| to that mode
        in [0, 1], of features shorter than 1e-6 proportionally less; 0 without modes. Neither has
        a gradient. For the same input and CPU path both are bitwise the same for any number of
        threads.

    Raises:
        InputError: a wrong rank, shape, dtype or device, NaN or Inf in features or modes, or
            num_modes outside 0..M. What only the values tell is a RuntimeError in compiled code.
    """
    _check_assign(features, modes, num_modes)
    if num_modes is None:
        num_modes = modes.new_full((modes.shape[0],), modes.shape[1], dtype=torch.int32)
    if torch.compiler.is_compiling():
        return _assign(features, modes, num_modes)
    try:
        return _assign(features, modes, num_modes)
    except RuntimeError as error:
        message = str(error)
        if message.startswith("assign: "):
            raise InputError(message.removeprefix("assign: ")) from None
        raise


def build_info() -> dict[str, Any]:
    """Tell what is in the compiled library.

    Returns:
        `library`: its file; `compiler`; `stable_abi`: the oldest torch it runs with; `cpu`: the
        `path` (instruction set) in use and those `available` on this processor, of which the
        environment variable BOTTOMUP_CPU can pick another; `cuda`: the version of the `toolkit`
        the build found or None, the `architectures` it has kernels for, and the `reason` if none.
    """
    return {"library": str(LIBRARY), **json.loads(_library.bottomup_build_info())}


def _check_assign(features: Tensor, modes: Tensor, num_modes: Tensor | None) -> None:
    """Check what can be told without looking at the values."""
    tensors = {"features": features, "modes": modes}
    if num_modes is not None:
        tensors["num_modes"] = num_modes
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            raise InputError(f"{name} must be a torch.Tensor, not {type(tensor).__name__}")
        if tensor.device != features.device:
            raise InputError(f"{name} is on {tensor.device}, but features on {features.device}")
    if features.device.type not in ("cpu", "meta"):
        raise InputError(f"features is on {features.device}, but this build runs on the CPU only")
    if features.ndim != 4:
        raise InputError(f"features must have shape (B, D, H, W), not {tuple(features.shape)}")
    if features.dtype not in FEATURE_TYPES:
        raise InputError(
            f"features must be float32, float64, float16 or bfloat16, not {features.dtype}"
        )
    batch, dimensions = features.shape[:2]
    if modes.ndim != 3 or modes.shape[0] != batch or modes.shape[2] != dimensions:
        raise InputError(
            f"modes must have shape (B, M, D) = ({batch}, M, {dimensions}), "
            f"not {tuple(modes.shape)}"
        )
    if modes.dtype != torch.float32:
        raise InputError(f"modes must be float32, not {modes.dtype}")
    if num_modes is not None:
        if num_modes.shape != (batch,):
            raise InputError(
                f"num_modes must have shape (B,) = ({batch},), not {tuple(num_modes.shape)}"
            )
        if num_modes.dtype != torch.int32:
            raise InputError(f"num_modes must be int32, not {num_modes.dtype}")


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


def _assign_fake(features: Tensor, modes: Tensor, num_modes: Tensor) -> tuple[Tensor, Tensor]:
    shape = (features.shape[0], *features.shape[2:])
    index = features.new_empty(shape, dtype=torch.int32)
    return index, torch.empty_like(index, dtype=torch.float32)


def _mark_without_gradient(ctx: Any, inputs: tuple[Tensor, ...], output: Tensors) -> None:
    ctx.mark_non_differentiable(*output)


def _no_gradient(ctx: Any, *gradients: Tensor | None) -> tuple[None, None, None]:
    return None, None, None


_library = _load(LIBRARY)
_check_cpu_path(os.environ.get("BOTTOMUP_CPU"))
_assign: Callable[[Tensor, Tensor, Tensor], Tensors] = torch.ops.bottomup_fast.assign.default
torch.library.register_fake("bottomup_fast::assign", _assign_fake)
torch.library.register_autograd(
    "bottomup_fast::assign", _no_gradient, setup_context=_mark_without_gradient
)
