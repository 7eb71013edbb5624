"""Refining a coarse label map by label maps of patches seen at higher resolutions (Section 4.1)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from bottomup_fast import ops
from bottomup_fast.errors import InputError
from bottomup_fast.reference.refinement import Box

LabelMap = TypeVar("LabelMap", NDArray[np.integer[Any]], torch.Tensor)


class Patch(NamedTuple):
    """A finer label map of a part of an image.

    Attributes:
        labels: integer (y1 - y0, x1 - x0) at full resolution; 0 is no segment.
        box: (x0, y0, x1, y1) in full-resolution pixels, x1 and y1 exclusive.
    """

    labels: NDArray[np.integer[Any]] | torch.Tensor
    box: Box


def refine(
    labels: LabelMap,
    patches: Sequence[Patch | tuple[Any, Box]],
    *,
    min_area: int = 100,
    refine_iou: float = 0.8,
    contain: float = 0.9,
) -> LabelMap:
    """Merge finer patches into a coarse label map (paper, Section 4.1).

    Patches are taken in the order given, which should be by ascending resolution. In each, the
    segments are taken largest first, ties by label. One that coincides with an existing segment
    replaces it inside the patch; one that lies inside an existing segment and is not cut by a
    patch border inside the image subdivides it; others are dropped. Every pixel has one label
    throughout, no write takes more than half of a segment, and therefore none vanishes.
    Background (0) can be subdivided, up to its last pixel, and is never replaced as a whole.
    `bottomup_fast.reference.refinement` states the rules in full.

    Args:
        labels: integer (H, W) array or tensor; 0 background, otherwise segments, any numbers.
        patches: `Patch` or plain (labels, box) pairs; arrays or tensors.
        min_area: pixels at full resolution; smaller segments of a patch are ignored.
        refine_iou: IoU in (0, 1], within the patch, from which two segments are the same.
        contain: share in (0, 1] of a segment's pixels that must lie inside what it subdivides.
            The three defaults are assumed, not the paper's.

    Returns:
        int32 (H, W), an array for an array and a tensor on the same device for a tensor; segments
        numbered 1..n in order of first appearance in raster order. The input is left as it is.

    Raises:
        InputError: a label map that is not integer, not (H, W), empty or has labels below 0; a box
            outside the image or of another size than its labels; a setting out of its range.
    """
    if not min_area >= 1:
        raise InputError(f"min_area: {min_area} is below 1")
    for name, value in (("refine_iou", refine_iou), ("contain", contain)):
        if not 0 < value <= 1:
            raise InputError(f"{name}: {value} is outside (0, 1]")
    coarse = _checked_labels(labels, "labels")
    finer: list[tuple[NDArray[np.int32], Box]] = [
        _checked_patch(patch, f"patches[{index}]", coarse.shape)
        for index, patch in enumerate(patches)
    ]
    none = np.empty(0, np.int32)
    merged = ops.refine(
        torch.from_numpy(coarse),
        torch.from_numpy(np.concatenate([none, *(patch.ravel() for patch, _ in finer)])),
        torch.tensor([box for _, box in finer], dtype=torch.int64).view(-1, 4),
        # Areas are whole numbers, and none is beyond the image.
        min_area=math.ceil(min(min_area, coarse.size + 1)),
        refine_iou=refine_iou,
        contain=contain,
    )
    return merged.numpy() if isinstance(labels, np.ndarray) else merged.to(labels.device)


def _checked_labels(labels: Any, name: str) -> NDArray[np.int32]:
    """`labels` as int32 if they are a non-empty integer map (H, W) without ignored pixels."""
    array = labels if isinstance(labels, np.ndarray) else _tensor_to_numpy(labels, name)
    if array.dtype.kind not in "iu":
        raise InputError(f"{name}: expected an integer dtype, got {array.dtype}")
    if array.ndim != 2:
        raise InputError(f"{name}: expected shape (H, W), got {array.shape}")
    if array.size == 0:
        raise InputError(f"{name}: the image has no pixels, shape {array.shape}")
    if array.min() < 0:
        raise InputError(f"{name}: labels must not be below 0, got {array.min()}")
    if array.max() > np.iinfo(np.int32).max:
        # Smaller numbers in the same order, 0 only for 0.
        values = np.unique(array)
        array = np.searchsorted(values, array) + (values[0] > 0)
    return array.astype(np.int32)


def _tensor_to_numpy(labels: Any, name: str) -> NDArray[Any]:
    if not isinstance(labels, torch.Tensor):
        kind = type(labels).__name__
        raise InputError(f"{name}: expected a numpy array or a torch tensor, got {kind}")
    # Checked before the conversion, since numpy has no bfloat16.
    if labels.is_floating_point():
        raise InputError(f"{name}: expected an integer dtype, got {labels.dtype}")
    array: NDArray[Any] = labels.cpu().numpy()
    return array


def _checked_patch(
    patch: Patch | tuple[Any, Box], name: str, image_shape: tuple[int, ...]
) -> tuple[NDArray[np.int32], Box]:
    """The labels and the box of `patch` if they fit each other and the image (H, W)."""
    if not isinstance(patch, tuple) or len(patch) != 2:
        raise InputError(f"{name}: expected a pair (labels, box), got {type(patch).__name__}")
    labels, box = _checked_labels(patch[0], f"{name}.labels"), np.asarray(patch[1])
    if box.shape != (4,) or box.dtype.kind not in "iu":
        raise InputError(f"{name}.box: expected four integers (x0, y0, x1, y1), got {patch[1]}")
    height, width = image_shape
    x0, y0, x1, y1 = box.tolist()
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        raise InputError(f"{name}.box: {patch[1]} is empty or outside the {width}x{height} image")
    if labels.shape != (y1 - y0, x1 - x0):
        raise InputError(f"{name}.box: {patch[1]} does not fit labels of shape {labels.shape}")
    return labels, (x0, y0, x1, y1)
