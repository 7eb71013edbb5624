"""Features to segments by mean shift on lines (eq. 10), on numpy arrays of any model's features."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bottomup_fast.errors import InputError
from bottomup_fast.runtime.module import native

Precision = Literal["highest", "fast"]


def cluster(
    features: NDArray[Any],
    bandwidth_deg: float = 45.0,
    mask: NDArray[np.bool_] | None = None,
    min_support: int = 10,
    precision: Precision | None = None,
) -> NDArray[np.int32]:
    """Partition the pixels of one image, or of each of a batch, by the modes of their lines.

    Args:
        features: (D, H, W) or (B, D, H, W) of any float dtype, length and sign; float64 is computed
            in float32.
        bandwidth_deg: half opening angle of the window, degrees in (0, 45].
        mask: (H, W) or (B, H, W) bool; pixels outside take no part and get label 0.
        min_support: pixels a mode needs in its window to be kept; if none has, all pixels are one
            segment.
        precision: "highest" or "fast", as `bottomup_fast.cluster` explains; by default "fast" for
            half precision only.

    Returns:
        int32 labels of the same H, W (and B): 1..n in order of first appearance in raster order.

    Raises:
        InputError: wrong rank, dtype or range, NaN or Inf in the features.
    """
    features = _floats("features", features)
    if features.ndim not in (3, 4):
        raise InputError(f"features must have shape ([B,] D, H, W), got {features.shape}")
    expected = (*features.shape[:-3], *features.shape[-2:])
    if mask is not None and (mask.dtype != np.bool_ or mask.shape != expected):
        raise InputError(f"mask must be bool {expected}, got {mask.dtype} {mask.shape}")
    if precision not in (None, "highest", "fast"):
        raise InputError(f'precision must be None, "highest" or "fast", got {precision!r}')
    if features.ndim == 4:
        labels = np.zeros(expected, np.int32)
        for i, image in enumerate(features):
            chosen = None if mask is None else mask[i]
            labels[i] = cluster(image, bandwidth_deg, chosen, min_support, precision)
        return labels
    fast = features.itemsize < 4 if precision is None else precision == "fast"
    found: NDArray[np.int32] = native.cluster(features, mask, bandwidth_deg, min_support, fast)
    return found


def mean_shift(
    points: NDArray[Any],
    seeds: NDArray[Any],
    bandwidth_deg: float = 45.0,
    tolerance: float = 1e-6,
    max_steps: int = 200,
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Move seeds uphill to their modes.

    Args:
        points: (N, D) of any float dtype, length and sign.
        seeds: (S, D), likewise.
        bandwidth_deg: half opening angle of the window, degrees in (0, 45].
        tolerance: a seed rests when a step moves it less.
        max_steps: bound on the steps.

    Returns:
        modes (S, D), unit lines with their component of largest magnitude positive, and support
        (S,), the points in each mode's window.

    Raises:
        InputError: wrong rank, shape, dtype or range, NaN or Inf.
    """
    points, seeds = _floats("points", points), _floats("seeds", seeds)
    if points.ndim != 2 or seeds.ndim != 2 or points.shape[1] != seeds.shape[1]:
        raise InputError(
            f"points (N, D) and seeds (S, D) must have one D, got {points.shape} and {seeds.shape}"
        )
    modes, support = native.mean_shift(points, seeds, bandwidth_deg, tolerance, max_steps)
    return modes, support


def assign(
    features: NDArray[Any], modes: NDArray[Any]
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Give every pixel to the mode nearest to it as a line.

    Args:
        features: (D, H, W) of any float dtype, length and sign.
        modes: (M, D) unit lines.

    Returns:
        (H, W) position of the nearest mode, the earliest of equally near ones, -1 without modes;
        and (H, W) |cos| to it, in [0, 1].

    Raises:
        InputError: wrong rank, shape or dtype, NaN or Inf.
    """
    features, modes = _floats("features", features), _floats("modes", modes)
    if features.ndim != 3 or modes.ndim != 2 or features.shape[0] != modes.shape[1]:
        raise InputError(
            f"features (D, H, W) and modes (M, D) must have one D, got {features.shape} "
            f"and {modes.shape}"
        )
    index, score = native.assign(features, modes)
    return index, score


def _floats(name: str, array: NDArray[Any]) -> NDArray[Any]:
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
        kind = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise InputError(f"{name} must be an array of floats, got {kind}")
    return array
