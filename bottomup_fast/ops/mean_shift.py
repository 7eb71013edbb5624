"""The op that moves seeds uphill to their modes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bottomup_fast.errors import InputError
from bottomup_fast.ops.library import (
    check_tensor,
    check_type,
    check_window,
    input_errors,
    register_without_gradient,
)


def mean_shift(
    points: Tensor,
    seeds: Tensor,
    bandwidth_deg: float = 45.0,
    tolerance: float = 1e-6,
    max_steps: int = 200,
) -> tuple[Tensor, Tensor]:
    """Move every seed to the mode of the points it climbs to (equation 10).

    The similarities of seeds and points are never stored.

    Args:
        points: (B, N, D) float32, float64, float16 or bfloat16 of any length and sign.
        seeds: (B, S, D), likewise.
        bandwidth_deg: half opening angle of the window, degrees in (0, 45].
        tolerance: a seed rests when a step moves it no farther than this on the sphere.
        max_steps: bound on the steps.

    Returns:
        (B, S, D) float32 unit lines, their component of largest magnitude positive; a seed whose
        window is empty stays. And (B, S) int32, the points in each one's window. Neither has a
        gradient. For the same input and CPU path both are bitwise the same for any number of
        threads.

    Raises:
        InputError: a wrong rank, shape, dtype, device or range, NaN or Inf. What only the values
            tell is a RuntimeError in compiled code.
    """
    for name, tensor in (("points", points), ("seeds", seeds)):
        check_tensor(name, tensor)
        if tensor.ndim != 3 or tensor.shape[2] < 1:
            raise InputError(f"{name} must have shape (B, N, D), not {tuple(tensor.shape)}")
        check_type(name, tensor)
    if points.shape[0] != seeds.shape[0] or points.shape[2] != seeds.shape[2]:
        raise InputError(
            f"seeds {tuple(seeds.shape)} must have the B and D of points {tuple(points.shape)}"
        )
    check_window(bandwidth_deg)
    if max_steps < 0:
        raise InputError(f"max_steps must not be negative, got {max_steps}")
    with input_errors("mean_shift"):
        return _mean_shift(points, seeds, bandwidth_deg, tolerance, max_steps)


def _mean_shift_fake(
    points: Tensor, seeds: Tensor, bandwidth_deg: float, tolerance: float, max_steps: int
) -> tuple[Tensor, Tensor]:
    support = seeds.new_empty(seeds.shape[:2], dtype=torch.int32)
    return seeds.new_empty(seeds.shape, dtype=torch.float32), support


_mean_shift: Callable[[Tensor, Tensor, float, float, int], tuple[Tensor, Tensor]]
_mean_shift = torch.ops.bottomup_fast.mean_shift.default
torch.library.register_fake("bottomup_fast::mean_shift", _mean_shift_fake)
register_without_gradient("bottomup_fast::mean_shift")
