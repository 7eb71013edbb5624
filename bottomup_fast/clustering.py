"""Features to segments: mean shift on lines, for any model's features."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from bottomup_fast import ops
from bottomup_fast.errors import InputError
from bottomup_fast.losses import check_feature_shape, check_features
from bottomup_fast.ops.library import DEVICES, check_window, has_op
from bottomup_fast.reference import clustering as reference
from bottomup_fast.reference.lines import normalise
from bottomup_fast.settings import Precision

Backend = Literal["auto", "reference"]


def cluster(
    features: Tensor,
    bandwidth_deg: float = 45.0,
    mask: Tensor | None = None,
    min_support: int = reference.MIN_SUPPORT,
    precision: Precision | None = None,
    backend: Backend = "auto",
) -> Tensor:
    """Partition of the pixels by the modes of their lines (eq. 10).

    Seeds are few and chosen deterministically; the result agrees with the partition that starts
    from every pixel (`reference.exact_partition`).

    Args:
        features: (D, H, W) or (B, D, H, W) of any float dtype, length and sign.
        bandwidth_deg: half opening angle of the window, degrees in (0, 45].
        mask: (H, W) or (B, H, W) bool; pixels outside take no part and get label 0.
        min_support: pixels a mode needs in its window to be kept; if none has, all pixels are one
            segment.
        precision: "highest": the modes move on all pixels until they rest, to 1/8192 of the
            bandwidth; "fast": to 1/16 (1/8 of up to 4096 pixels), from fewer seeds, which gives
            other segments where features do not separate, many times faster. By default "highest"
            for float32 and float64, "fast" for half precision. The reference always computes at
            "highest".
        backend: "auto" takes the compiled op for all but float64 features, and keeps the 1024 best
            supported modes; "reference" is plain torch.

    Returns:
        int32 labels of the same H, W (and B): 1..n, numbered in order of first appearance in raster
        order; 0 outside the mask.

    Raises:
        InputError: wrong rank, dtype, device or range, NaN or Inf in the features.
    """
    if mask is not None and not isinstance(mask, Tensor):
        raise InputError(f"mask must be a bool tensor, got {type(mask).__name__}")
    if isinstance(features, Tensor) and features.ndim == 3:
        masks = None if mask is None else mask.unsqueeze(0)
        maps = features.unsqueeze(0)
        return cluster(maps, bandwidth_deg, masks, min_support, precision, backend)[0]
    check_feature_shape(features)
    check_window(bandwidth_deg, min_support)
    if precision not in (None, "highest", "fast"):
        raise InputError(f'precision must be None, "highest" or "fast", got {precision!r}')
    expected = (features.shape[0], *features.shape[2:])
    if mask is not None:
        if mask.dtype != torch.bool or tuple(mask.shape) != expected:
            raise InputError(f"mask must be bool {expected}, got {mask.dtype} {tuple(mask.shape)}")
        if mask.device != features.device:
            raise InputError(f"mask is on {mask.device}, features on {features.device}")
    if _compiled(features, backend):
        fast = features.dtype.itemsize < 4 if precision is None else precision == "fast"
        return ops.cluster(features, mask, bandwidth_deg, min_support, fast=fast).labels
    check_features(features)
    if mask is None:
        mask = torch.ones(expected, dtype=torch.bool, device=features.device)
    images = []
    for image, chosen in zip(features, mask, strict=True):
        modes = _reference_modes(image, chosen, bandwidth_deg, min_support)
        index, _ = assign_pixels(image, modes.lines, chosen)
        images.append(reference.number_by_appearance(index.flatten()).view_as(index))
    return torch.stack(images) if images else mask.int()


def find_modes(
    features: Tensor,
    mask: Tensor,
    bandwidth_deg: float,
    min_support: int,
    precision: Precision = "highest",
) -> reference.Modes:
    """Modes of the masked pixels of one (D, H, W) map; `precision` as for `cluster`."""
    if not _compiled(features, "auto"):
        return _reference_modes(features, mask, bandwidth_deg, min_support)
    found = ops.cluster(
        features.unsqueeze(0),
        mask.unsqueeze(0),
        bandwidth_deg,
        min_support,
        fast=precision == "fast",
    )
    count = int(found.num_modes[0])
    return reference.Modes(found.modes[0, :count], found.support[0, :count].long())


def _reference_modes(
    features: Tensor, mask: Tensor, bandwidth_deg: float, min_support: int
) -> reference.Modes:
    pixels = features.flatten(1).mT[mask.flatten()]
    dtype = torch.promote_types(features.dtype, torch.float32)
    return reference.seeded_modes(normalise(pixels.to(dtype), dim=-1), bandwidth_deg, min_support)


def _compiled(features: Tensor, backend: Backend) -> bool:
    if backend not in ("auto", "reference"):
        raise InputError(f'backend must be "auto" or "reference", got {backend!r}')
    return backend == "auto" and has_op(features)


def assign_pixels(
    features: Tensor, modes: Tensor, mask: Tensor, precision: Precision = "highest"
) -> tuple[Tensor, Tensor]:
    """Nearest mode of every masked pixel of a (D, H, W) map, by the compiled op where it runs.

    `precision`: of the products, see `ops.assign`.

    Returns:
        (H, W) int32 positions, -1 outside the mask, 0 for all if there are no modes; and (H, W)
        float32 |cos| to it, 0 outside the mask and without modes.
    """
    if not len(modes):
        index, score = (
            torch.zeros_like(mask, dtype=torch.int32),
            mask.new_zeros((), dtype=torch.float32),
        )
    elif features.device.type in DEVICES:
        found = ops.assign(
            features.unsqueeze(0), modes.float().unsqueeze(0), fast=precision == "fast"
        )
        index, score = (out[0] for out in found)
    else:
        points = normalise(features.float().flatten(1).mT, dim=-1)
        index, score = (out.view(mask.shape) for out in reference.assign(points, modes.float()))
    return torch.where(mask, index.int(), -1), torch.where(mask, score, 0)


def mean_shift(
    points: Tensor,
    seeds: Tensor,
    bandwidth_deg: float = 45.0,
    tolerance: float | None = None,
    max_steps: int = 200,
    backend: Backend = "auto",
) -> tuple[Tensor, Tensor]:
    """Batched mean shift on lines (eq. 10).

    Args:
        points: (B, N, D) of any length and sign.
        seeds: (B, S, D), likewise.
        bandwidth_deg: half opening angle of the window, degrees in (0, 45].
        tolerance: a seed rests when a step moves it less; 1e-6 by default, 1e-10 for float64.
        max_steps: bound on the steps.
        backend: "auto" takes the compiled op for all but float64; "reference" is plain torch.

    Returns:
        modes (B, S, D), unit lines with their component of largest magnitude positive, and support
        (B, S) int64, the points in each mode's window.

    Raises:
        InputError: wrong rank, shape, dtype or range, NaN or Inf.
    """
    for name, tensor in (("points", points), ("seeds", seeds)):
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point() or tensor.ndim != 3:
            raise InputError(f"{name} must be a float tensor of shape (B, count, D)")
    if points.shape[0] != seeds.shape[0] or points.shape[2] != seeds.shape[2]:
        raise InputError(
            f"seeds {tuple(seeds.shape)} must have the B and D of points {tuple(points.shape)}"
        )
    if points.dtype != seeds.dtype or points.device != seeds.device:
        raise InputError("seeds must have the dtype and device of points")
    if points.shape[2] < 1:
        raise InputError("points must have at least one dimension, got D = 0")
    check_window(bandwidth_deg)
    if max_steps < 0:
        raise InputError(f"max_steps must not be negative, got {max_steps}")
    dtype = torch.promote_types(points.dtype, torch.float32)
    if tolerance is None:
        tolerance = 1e-10 if dtype == torch.float64 else 1e-6
    if _compiled(points, backend):
        lines, counts = ops.mean_shift(points, seeds, bandwidth_deg, tolerance, max_steps)
        return lines.to(points.dtype), counts.long()
    for name, tensor in (("points", points), ("seeds", seeds)):
        if not tensor.isfinite().all():
            raise InputError(f"{name} contain NaN or Inf")
    modes, support = [], []
    for image_points, image_seeds in zip(points.to(dtype), seeds.to(dtype), strict=True):
        lines = normalise(image_points, dim=-1)
        mode = reference.mean_shift(
            lines,
            normalise(image_seeds, dim=-1),
            bandwidth_deg,
            tolerance=tolerance,
            max_steps=max_steps,
        )
        modes.append(mode.to(points.dtype))
        support.append(reference.window_support(lines, mode, bandwidth_deg))
    if not modes:
        return seeds.clone(), torch.zeros(seeds.shape[:2], dtype=torch.int64, device=seeds.device)
    return torch.stack(modes), torch.stack(support)
