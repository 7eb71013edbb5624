"""COCO's ways to write a mask, checked and brought into one: compressed run lengths.

pycocotools trusts what it is given, up to reading outside of memory; so everything is checked here
before it gets there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pycocotools.mask
from numpy.typing import NDArray

from bottomup_fast.data.dataset import RunLengths, Size
from bottomup_fast.errors import InputError

LONGEST_OUTLINE = 2**20
"""Pixels around a polygon; the memory for drawing it grows with them."""


def as_run_lengths(segmentation: Any, size: Size) -> RunLengths:
    """Polygons, uncompressed or compressed run lengths of COCO as compressed run lengths.

    Args:
        segmentation: a list of polygons [x1, y1, x2, y2, ...] in pixels, or a mapping of `size`
            [H, W] and `counts`, a list of integers or COCO's text.
        size: of the image.

    Raises:
        InputError: anything else, of another size, or not adding up to all pixels.
    """
    if isinstance(segmentation, list):
        return _from_polygons(segmentation, size)
    if not isinstance(segmentation, dict) or not {"size", "counts"} <= segmentation.keys():
        raise InputError("segmentation: neither polygons nor run lengths")
    if segmentation["size"] != list(size):
        raise InputError(f"segmentation: size {segmentation['size']}, its image is {list(size)}")
    counts = segmentation["counts"]
    if isinstance(counts, list):
        return _from_counts(_checked_counts(counts, size), size)
    if not isinstance(counts, str | bytes):
        raise InputError("segmentation: counts must be a list of integers or text")
    code = counts.encode("ascii", "replace") if isinstance(counts, str) else counts
    _checked_counts(_decoded(code), size)
    return RunLengths(size=list(size), counts=code)


def run_counts(mask: RunLengths) -> NDArray[np.int64]:
    """Lengths of the runs outside and inside a mask in turn, column by column from the top left.

    Raises:
        InputError: not COCO's text.
    """
    return _decoded(mask["counts"])


def area(mask: RunLengths) -> int:
    """Pixels of a mask."""
    return int(run_counts(mask)[1::2].sum())


def paint(
    masks: Sequence[RunLengths], ignored: Sequence[RunLengths], size: Size
) -> NDArray[np.int32]:
    """Draw masks into one label map (H, W), larger ones first so that smaller ones stay on top.

    Mask i gets label i + 1; what only `ignored` ones cover gets -1, the rest 0.
    """
    height, width = size
    # Run lengths go down the columns.
    columns = np.zeros(height * width, np.int32)
    runs = [run_counts(mask) for mask in masks]
    order = np.argsort([-int(counts[1::2].sum()) for counts in runs], kind="stable")
    layers = [(-1, run_counts(mask)) for mask in ignored]
    layers += [(int(index) + 1, runs[index]) for index in order]
    for label, counts in layers:
        ends = counts.cumsum().tolist()
        for start, end in zip(ends[:-1:2], ends[1::2], strict=True):
            columns[start:end] = label
    return np.ascontiguousarray(columns.reshape(width, height).T)


def _from_polygons(polygons: list[Any], size: Size) -> RunLengths:
    height, width = size
    for polygon in polygons:
        try:
            points = np.asarray(polygon, np.float64).reshape(-1, 2)
        except (TypeError, ValueError, OverflowError) as error:
            raise InputError("segmentation: polygons must be lists of x1, y1, ...") from error
        if not isinstance(polygon, list) or len(points) < 3:
            raise InputError("segmentation: a polygon needs three points")
        # Annotators overshoot the border by a little, never by a whole image.
        if not (np.abs(points / (width, height) - 0.5) <= 1.5).all():
            raise InputError("segmentation: a polygon lies far outside of the image")
        if np.abs(points - np.roll(points, 1, 0)).max(1).sum() > LONGEST_OUTLINE:
            raise InputError(f"segmentation: a polygon's outline exceeds {LONGEST_OUTLINE} pixels")
    if not polygons:
        raise InputError("segmentation: no polygon")
    parts = pycocotools.mask.frPyObjects(polygons, height, width)
    merged = pycocotools.mask.merge(parts)
    return RunLengths(size=list(size), counts=merged["counts"])


def _from_counts(counts: NDArray[np.int64], size: Size) -> RunLengths:
    runs = {"size": list(size), "counts": counts.tolist()}
    return RunLengths(size=list(size), counts=pycocotools.mask.frPyObjects(runs, *size)["counts"])


def _decoded(code: bytes) -> NDArray[np.int64]:
    """Numbers from COCO's text: 5 bits a letter, lowest first; from the fourth on, differences."""
    letters = np.frombuffer(code, np.uint8).astype(np.int64) - 48
    if not letters.size or letters.min() < 0 or letters.max() > 63 or letters[-1] & 32:
        raise InputError("segmentation: counts are not COCO's text")
    last = np.flatnonzero(~letters & 32)
    first = np.concatenate(([0], last[:-1] + 1))
    length = last - first + 1
    if length.max() > 7:  # 35 bits, more than any run
        raise InputError("segmentation: counts are too large")
    place = np.arange(letters.size) - np.repeat(first, length)
    numbers = np.add.reduceat((letters & 31) << (5 * place), first)
    negative = (letters[last] & 16) > 0
    numbers -= negative * (np.int64(1) << (5 * length))
    numbers[1::2] = numbers[1::2].cumsum()
    numbers[2::2] = numbers[2::2].cumsum()
    return np.asarray(numbers)


def _checked_counts(counts: Any, size: Size) -> NDArray[np.int64]:
    try:
        numbers = np.asarray(counts)
    except (ValueError, OverflowError) as error:
        raise InputError("segmentation: counts must be integers") from error
    if numbers.ndim != 1 or numbers.dtype.kind != "i":
        raise InputError("segmentation: counts must be integers")
    pixels = size[0] * size[1]
    if numbers.min() < 0 or numbers.max() > pixels or numbers.sum() != pixels:
        raise InputError(
            f"segmentation: counts add up to {numbers.sum()}, not to the image's {pixels} pixels"
        )
    return numbers.astype(np.int64)
