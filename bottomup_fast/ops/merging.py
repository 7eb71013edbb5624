"""The ops that make segments of what clustering gives, on CPU tensors."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bottomup_fast.errors import InputError
from bottomup_fast.ops.library import check_tensor, check_window, input_errors

Scores = tuple[Tensor, Tensor, Tensor]


def pieces(index: Tensor, modes: Tensor, *, split: bool = False, min_area: int = 1) -> Tensor:
    """From the mode of every pixel to segments.

    Args:
        index: (H, W) int32, position of each pixel's mode; -1 for background.
        modes: (M, D) float32 lines.
        split: make connected pieces (of 4 neighbours) of a mode segments of their own.
        min_area: pixels; smaller segments, the smallest first, join the neighbour of closest line,
            of equally close ones that with the longest shared border; the background if there is
            no other.

    Returns:
        (H, W) int32: 1..n by first appearance in raster order; 0 is background.

    Raises:
        InputError: a wrong rank, dtype or device, a map without pixels, or an index without its
            mode. What only the values tell is a RuntimeError in compiled code.
    """
    _check_labels("index", index)
    check_tensor("modes", modes)
    if modes.ndim != 2 or modes.dtype != torch.float32:
        raise InputError(f"modes must be float32 (M, D), not {modes.dtype} {tuple(modes.shape)}")
    with input_errors("pieces"):
        return _pieces(index, modes, split, min_area)


def join_fragments(labels: Tensor, coarse: Tensor, *, min_area: float) -> Tensor:
    """Join the segments that lie in one segment of a coarser label map.

    An object much larger than those a network was trained on falls into parts; seen smaller, it is
    whole. A segment belongs to the coarser one that holds more than half of its pixels, and those
    that belong to the same one become one segment, with the outline that they had. Coarser segments
    below `min_area` join nothing: what is small there is seen better in `labels`.

    Args:
        labels: (H, W) int32; 0 is background, which stays.
        coarse: (H, W) int32; 0 is no segment.
        min_area: pixels.

    Returns:
        (H, W) int32, numbered 1..n by first appearance in raster order.

    Raises:
        InputError: maps without pixels, with labels below 0, or of different shapes, another dtype
            or device, or an area below 0. What only the values tell is a RuntimeError in compiled
            code.
    """
    _check_labels("labels", labels)
    _check_labels("coarse", coarse)
    with input_errors("join_fragments"):
        return _join_fragments(labels, coarse, min_area)


def refine(
    labels: Tensor,
    patches: Tensor,
    boxes: Tensor,
    *,
    min_area: int,
    refine_iou: float,
    contain: float,
) -> Tensor:
    """Merge finer patches into a coarse label map; `bottomup_fast.refine` explains how.

    Args:
        labels: (H, W) int32; 0 is background.
        patches: int32, the labels of all patches one after another, each in raster order.
        boxes: (P, 4) int64, where each patch lies: x0, y0, x1, y1 in pixels.
        min_area: pixels; smaller segments of a patch are ignored.
        refine_iou: IoU in (0, 1], within the patch, from which two segments are the same.
        contain: share in (0, 1] of a segment's pixels that must lie inside what it subdivides.

    Returns:
        (H, W) int32, numbered 1..n by first appearance in raster order.

    Raises:
        InputError: a wrong rank, dtype or device, maps without pixels or with labels below 0, boxes
            outside the image or of another size than the patches, settings out of range. What only
            the values tell is a RuntimeError in compiled code.
    """
    _check_labels("labels", labels)
    check_tensor("patches", patches)
    check_tensor("boxes", boxes)
    with input_errors("refine"):
        return _refine(labels, patches, boxes, min_area, refine_iou, contain)


def segment_scores(
    labels: Tensor, likeness: Tensor, cosine: Tensor, bandwidth_deg: float = 45.0
) -> Scores:
    """Means over each segment, and its stability.

    Args:
        labels: (H, W) int32; 0 is background, segments are 1..n.
        likeness: (H, W) float32.
        cosine: (H, W) float32, |cos| between a pixel's line and that of its segment.
        bandwidth_deg: half opening angle of the window, degrees in (0, 45].

    Returns:
        Three of (n,) float64, 0 for labels without pixels: the mean of `likeness`; that of
        `cosine`; and the share of the pixels inside the window that are inside a tighter one, too,
        of 0.75 of its angle.

    Raises:
        InputError: a wrong rank, dtype, device, shape or angle, or a label below 0. What only the
            values tell is a RuntimeError in compiled code.
    """
    _check_labels("labels", labels)
    for name, values in (("likeness", likeness), ("cosine", cosine)):
        check_tensor(name, values)
        if values.shape != labels.shape or values.dtype != torch.float32:
            raise InputError(
                f"{name} must be float32 {tuple(labels.shape)}, "
                f"not {values.dtype} {tuple(values.shape)}"
            )
    check_window(bandwidth_deg)
    with input_errors("segment_scores"):
        return _segment_scores(labels, likeness, cosine, bandwidth_deg)


def _check_labels(name: str, labels: Tensor) -> None:
    check_tensor(name, labels)
    if labels.ndim != 2 or labels.dtype != torch.int32:
        raise InputError(f"{name} must be int32 (H, W), not {labels.dtype} {tuple(labels.shape)}")


def _pieces_fake(index: Tensor, modes: Tensor, split: bool, min_area: int) -> Tensor:
    return index.new_empty(index.shape)


def _join_fragments_fake(labels: Tensor, coarse: Tensor, min_area: float) -> Tensor:
    return labels.new_empty(labels.shape)


def _refine_fake(
    labels: Tensor,
    patches: Tensor,
    boxes: Tensor,
    min_area: int,
    refine_iou: float,
    contain: float,
) -> Tensor:
    return labels.new_empty(labels.shape)


def _segment_scores_fake(
    labels: Tensor, likeness: Tensor, cosine: Tensor, bandwidth_deg: float
) -> Scores:
    count = torch.library.get_ctx().new_dynamic_size()
    one, other, third = (labels.new_empty(count, dtype=torch.float64) for _ in range(3))
    return one, other, third


_pieces: Callable[[Tensor, Tensor, bool, int], Tensor]
_pieces = torch.ops.bottomup_fast.pieces.default
_join_fragments: Callable[[Tensor, Tensor, float], Tensor]
_join_fragments = torch.ops.bottomup_fast.join_fragments.default
_refine: Callable[[Tensor, Tensor, Tensor, int, float, float], Tensor]
_refine = torch.ops.bottomup_fast.refine.default
_segment_scores: Callable[[Tensor, Tensor, Tensor, float], Scores]
_segment_scores = torch.ops.bottomup_fast.segment_scores.default
torch.library.register_fake("bottomup_fast::pieces", _pieces_fake)
torch.library.register_fake("bottomup_fast::join_fragments", _join_fragments_fake)
torch.library.register_fake("bottomup_fast::refine", _refine_fake)
torch.library.register_fake("bottomup_fast::segment_scores", _segment_scores_fake)
