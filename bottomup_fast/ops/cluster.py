"""The op that partitions the pixels of images by the modes of their lines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bottomup_fast.errors import InputError
from bottomup_fast.ops.library import (
    check_features,
    check_window,
    input_errors,
    register_without_gradient,
)

Tensors = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]

MAX_MODES = 1024
"""Modes of an image at most, if the caller says nothing else."""
ROUNDS = 8
"""Passes over an image at most; most need one or two."""


class Clusters(NamedTuple):
    """What `cluster` finds in B images; no field has a gradient.

    Attributes:
        labels: (B, H, W) int32, from 1 in order of first appearance; 0 outside the mask.
        num_segments: (B,) int32, the largest label.
        score: (B, H, W) float32, |cos| between a pixel and the mode of its segment, in [0, 1]; 0
            outside the mask and where there is no mode.
        modes: (B, max_modes, D) float32 unit lines, the best supported first, then zeros.
        support: (B, max_modes) int32, pixels in the window of each mode.
        num_modes: (B,) int32.
    """

    labels: Tensor
    num_segments: Tensor
    score: Tensor
    modes: Tensor
    support: Tensor
    num_modes: Tensor


def cluster(
    features: Tensor,
    mask: Tensor | None = None,
    bandwidth_deg: float = 45.0,
    min_support: int = 10,
    *,
    rounds: int = ROUNDS,
    max_modes: int = MAX_MODES,
    fast: bool = False,
) -> Clusters:
    """Partition the pixels of each image by the modes of their lines (equation 10).

    Modes are sought on subsets of the pixels and verified on all; contiguous or channels-last
    features are read once or twice. For the same input and CPU path all fields are bitwise the same
    for any number of threads, and those of a batch are those of its images.

    Args:
        features: (B, D, H, W) float32, float64, float16 or bfloat16 of any length and sign; all are
            computed in float32.
        mask: (B, H, W) bool, the pixels that take part; all by default.
        bandwidth_deg: half opening angle of the window, degrees in (0, 45].
        min_support: pixels a mode needs in its window; if none has, all pixels are one segment.
        rounds: passes over an image at most.
        max_modes: of an image; of more, those of least support are left out.
        fast: stop when a step on all pixels moves no mode by more than 1/16 of the bandwidth, not
            1/8192: mostly after one pass. Up to 4096 pixels are compared with one another, and
            modes climb from the densest places until a step is below 1/8 of the bandwidth.

    Raises:
        InputError: a wrong rank, shape, dtype, device or range, NaN or Inf in the features, inside
            the mask or outside. What only the values tell is a RuntimeError in compiled code.
    """
    check_features(features)
    if features.shape[1] < 1:
        raise InputError("features must have at least one dimension, got D = 0")
    check_window(bandwidth_deg, min_support)
    for name, value in (("rounds", rounds), ("max_modes", max_modes)):
        if value < 1:
            raise InputError(f"{name} must be at least 1, got {value}")
    if mask is not None:
        _check_mask(mask, features)
    with input_errors("cluster"):
        found = _cluster(features, mask, bandwidth_deg, min_support, rounds, max_modes, fast)
    return Clusters(*found)


def _check_mask(mask: Tensor, features: Tensor) -> None:
    if not isinstance(mask, Tensor):
        raise InputError(f"mask must be a bool tensor, got {type(mask).__name__}")
    expected = (features.shape[0], *features.shape[2:])
    if mask.dtype != torch.bool or tuple(mask.shape) != expected:
        raise InputError(f"mask must be bool {expected}, got {mask.dtype} {tuple(mask.shape)}")
    if mask.device != features.device:
        raise InputError(f"mask is on {mask.device}, features on {features.device}")


def _cluster_fake(
    features: Tensor,
    mask: Tensor | None,
    bandwidth_deg: float,
    min_support: int,
    rounds: int,
    max_modes: int,
    fast: bool,
) -> Tensors:
    batch, dimensions, height, width = features.shape

    def empty(*shape: Any, dtype: torch.dtype = torch.int32) -> Tensor:
        return features.new_empty(shape, dtype=dtype)

    return (
        empty(batch, height, width),
        empty(batch),
        empty(batch, height, width, dtype=torch.float32),
        empty(batch, max_modes, dimensions, dtype=torch.float32),
        empty(batch, max_modes),
        empty(batch),
    )


_cluster: Callable[[Tensor, Tensor | None, float, int, int, int, bool], Tensors]
_cluster = torch.ops.bottomup_fast.cluster.default
torch.library.register_fake("bottomup_fast::cluster", _cluster_fake)
register_without_gradient("bottomup_fast::cluster")
