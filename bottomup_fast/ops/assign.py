"""The op that gives every pixel to the mode nearest to it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bottomup_fast.errors import InputError
from bottomup_fast.ops.library import check_features, input_errors, register_without_gradient

Tensors = tuple[Tensor, Tensor]


def assign(
    features: Tensor, modes: Tensor, num_modes: Tensor | None = None, *, fast: bool = False
) -> tuple[Tensor, Tensor]:
    """Give every pixel to the mode nearest to it as a line (equation 10).

    The features are read once, contiguous or channels-last, and normalised on the way.

    Args:
        features: (B, D, H, W) float32, float64, float16 or bfloat16, of any length and sign.
        modes: (B, M, D) float32 lines of unit length.
        num_modes: (B,) int32, how many of its M modes each image has; all of them by default.

        fast: on CPUs with AMX, multiply in bfloat16: of modes as near as 1 % either may be taken.

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
    with input_errors("assign"):
        return _assign(features, modes, num_modes, fast)


def _check_assign(features: Tensor, modes: Tensor, num_modes: Tensor | None) -> None:
    """Check what can be told without looking at the values."""
    check_features(features)
    tensors = {"modes": modes} if num_modes is None else {"modes": modes, "num_modes": num_modes}
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            raise InputError(f"{name} must be a torch.Tensor, not {type(tensor).__name__}")
        if tensor.device != features.device:
            raise InputError(f"{name} is on {tensor.device}, but features on {features.device}")
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


def _assign_fake(
    features: Tensor, modes: Tensor, num_modes: Tensor, fast: bool = False
) -> tuple[Tensor, Tensor]:
    shape = (features.shape[0], *features.shape[2:])
    index = features.new_empty(shape, dtype=torch.int32)
    return index, torch.empty_like(index, dtype=torch.float32)


_assign: Callable[[Tensor, Tensor, Tensor, bool], Tensors] = torch.ops.bottomup_fast.assign.default
torch.library.register_fake("bottomup_fast::assign", _assign_fake)
register_without_gradient("bottomup_fast::assign")
