"""Label maps as pieces, and finer label maps merged into coarser ones, on numpy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bottomup_fast.errors import InputError
from bottomup_fast.runtime.module import native

Box = tuple[int, int, int, int]


def refine(
    labels: NDArray[np.integer[Any]],
    patches: Sequence[tuple[NDArray[np.integer[Any]], Box]],
    *,
    min_area: int = 100,
    refine_iou: float = 0.8,
    contain: float = 0.9,
) -> NDArray[np.int32]:
    """Merge finer patches into a coarse label map (paper, Section 4.1).

    `bottomup_fast.refine` explains how, and the settings.

    Args:
        labels: integer (H, W); 0 background, otherwise segments, any numbers.
        patches: pairs of labels (y1 - y0, x1 - x0) and box (x0, y0, x1, y1), by ascending
            resolution.
        min_area: pixels at full resolution; smaller segments of a patch are ignored.
        refine_iou: IoU in (0, 1], within the patch, from which two segments are the same.
        contain: share in (0, 1] of a segment's pixels that must lie inside what it subdivides.

    Returns:
        int32 (H, W), segments numbered 1..n in order of first appearance in raster order.

    Raises:
        InputError: a label map that is not integer, not (H, W), empty or has labels below 0; a box
            outside the image or of another size than its labels; a setting out of its range.
    """
    finer = [
        (_label_map(f"patches[{i}].labels", patch), _box(f"patches[{i}].box", box))
        for i, (patch, box) in enumerate(patches)
    ]
    coarse = _label_map("labels", labels)
    merged: NDArray[np.int32] = native.refine(coarse, finer, min_area, refine_iou, contain)
    return merged


def join_fragments(
    labels: NDArray[np.integer[Any]], coarse: NDArray[np.integer[Any]], *, min_area: float
) -> NDArray[np.int32]:
    """Join the segments that lie in one segment of a coarser label map.

    Those with more than half of their pixels in the same coarser segment, if it has at least
    `min_area`, become one. Labels (H, W) of 0 are background, which stays. The result is numbered
    by first appearance in raster order. Raises InputError as `relabel_by_appearance` does, for
    labels below 0, maps that differ in shape, or an area below 0.
    """
    joined: NDArray[np.int32] = native.join_fragments(
        _label_map("labels", labels), _label_map("coarse", coarse), min_area
    )
    return joined


def relabel_by_appearance(labels: NDArray[np.integer[Any]]) -> NDArray[np.int32]:
    """Number the labels of a map (H, W) 1..n by first appearance in raster order; 0, -1 stay.

    Raises InputError for anything but a non-empty map of integers from -1 up.
    """
    numbered: NDArray[np.int32] = native.relabel_by_appearance(_label_map("labels", labels))
    return numbered


def split_components(
    labels: NDArray[np.integer[Any]], *, connectivity: int = 1
) -> NDArray[np.int32]:
    """Make every connected piece of every label of a map (H, W) a segment of its own.

    `connectivity` is 1 for 4 neighbours or 2 for 8. Pieces are numbered 1..n by first appearance
    in raster order; 0 and -1 stay. Raises InputError as `relabel_by_appearance` does, or for
    another connectivity.
    """
    pieces: NDArray[np.int32] = native.split_components(_label_map("labels", labels), connectivity)
    return pieces


def fold_specks(labels: NDArray[np.integer[Any]], min_area: int) -> NDArray[np.int32]:
    """Fold every segment of fewer than `min_area` pixels into its neighbour of longest border.

    The smallest goes first; of equal borders the lowest label gets it. Background (0) is a
    neighbour like any other, ignored pixels (-1) are none. Labels of folded segments are left
    unused. Raises InputError as `relabel_by_appearance` does, or for a label above the number of
    pixels.
    """
    folded: NDArray[np.int32] = native.fold_specks(_label_map("labels", labels), min_area)
    return folded


def _label_map(name: str, labels: NDArray[Any]) -> NDArray[np.int32]:
    if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "iu":
        kind = labels.dtype if isinstance(labels, np.ndarray) else type(labels).__name__
        raise InputError(f"{name}: expected an array of integers, got {kind}")
    if labels.ndim != 2 or labels.size == 0:
        raise InputError(f"{name}: expected a non-empty map (H, W), got shape {labels.shape}")
    limits = np.iinfo(np.int32)
    if labels.min() < limits.min or labels.max() > limits.max:
        raise InputError(f"{name}: labels beyond 32 bits")
    return labels.astype(np.int32, copy=False)


def _box(name: str, box: Any) -> list[int]:
    values = np.asarray(box)
    if values.shape != (4,) or values.dtype.kind not in "iu":
        raise InputError(f"{name}: expected four integers (x0, y0, x1, y1), got {box}")
    result: list[int] = values.tolist()
    return result
