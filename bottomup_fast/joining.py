"""Joining the segments of overlapping windows into one map.

Lines are defined within one forward pass only, so windows are compared by their segments. An object
is best seen by the window it lies in the middle of; that window's segment of it is taken whole, and
what other windows make of it is dropped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import DisjointSet
from scipy.ndimage import distance_transform_edt, find_objects
from skimage.measure import label

from bottomup_fast.tiling import Tile

LabelMap = NDArray[np.int32]
FREE = 0.5
"""A segment is taken if at least this share of it is not part of a segment taken before."""
JOIN_IOU = 0.5
"""Parts of an object larger than a window are joined if they agree like this in the overlap."""


@dataclass(frozen=True)
class _Candidate:
    """A segment of one window.

    Attributes:
        box: where it lies in the image.
        mask: its pixels in the box.
        cut: whether it touches a border of its window inside the image.
        central: share of its pixels in the core of its window.
        window: position of the window.
        number: its label in the window.
    """

    box: tuple[slice, slice]
    mask: NDArray[np.bool_]
    cut: bool
    central: float
    window: int
    number: int


def join_windows(grid: Sequence[Sequence[Tile]], labels: Sequence[LabelMap]) -> LabelMap:
    """One label map of an image from those of its windows.

    Segments are taken whole, those first that no window border cuts, the most central first. Cut
    ones follow, for objects larger than a window, and are joined where windows agree. Remaining
    foreground goes to the nearest segment it touches, or else stays a segment of its own.

    Args:
        grid: rows of windows, as `tiling.windows` gives them.
        labels: the (h, w) map of each window in raster order: 0 background, segments 1..n.

    Returns:
        (H, W) int32: 0 background, other values name segments, not consecutively.
    """
    height, width = grid[-1][-1].core[1], grid[-1][-1].core[3]
    every = [tile for row in grid for tile in row]
    candidates = [
        candidate
        for window, (tile, window_labels) in enumerate(zip(every, labels, strict=True))
        for candidate in _candidates(tile, window_labels, window, height, width)
    ]
    candidates.sort(key=lambda c: (c.cut, -c.central, c.window, c.number))
    result = np.zeros((height, width), np.int32)
    names: dict[tuple[int, int], int] = {}
    for candidate in candidates:
        area = result[candidate.box]
        free = candidate.mask & (area == 0)
        if free.sum() >= FREE * candidate.mask.sum():
            name = len(names) + 1
            names[candidate.window, candidate.number] = name
            area[free] = name
    parts = DisjointSet((c.window, c.number) for c in candidates if c.cut)
    _merge_parts(grid, labels, parts)
    final = np.arange(len(names) + 1, dtype=np.int32)
    for part, name in names.items():
        if part in parts:
            final[name] = min(names[other] for other in parts.subset(part) if other in names)
    result = final[result]
    covered = np.zeros((height, width), bool)
    for tile, window_labels in zip(every, labels, strict=True):
        covered[tile.core_slices()] = window_labels[tile.core_in_window()] > 0
    return _give_away(result, covered & (result == 0))


def _candidates(
    tile: Tile, labels: LabelMap, window: int, height: int, width: int
) -> Iterator[_Candidate]:
    y0, y1, x0, x1 = tile.window
    inner = np.zeros(labels.shape, bool)
    inner[0] |= y0 > 0
    inner[-1] |= y1 < height
    inner[:, 0] |= x0 > 0
    inner[:, -1] |= x1 < width
    core = np.zeros(labels.shape, bool)
    core[tile.core_in_window()] = True
    for number, box in enumerate(find_objects(labels), 1):
        if box is None:
            continue
        mask = labels[box] == number
        rows, columns = box
        yield _Candidate(
            (
                slice(rows.start + y0, rows.stop + y0),
                slice(columns.start + x0, columns.stop + x0),
            ),
            mask,
            bool((mask & inner[box]).any()),
            float((mask & core[box]).sum() / mask.sum()),
            window,
            number,
        )


def _merge_parts(
    grid: Sequence[Sequence[Tile]], labels: Sequence[LabelMap], parts: DisjointSet
) -> None:
    """Merge cut segments, named (window, number), that windows side by side agree on."""
    columns = len(grid[0])
    every = [tile for row in grid for tile in row]
    for first in range(len(every)):
        beside = [first + 1] if (first + 1) % columns else []
        below = [first + columns] if first + columns < len(every) else []
        for second in beside + below:
            pair = _overlap(every[first], labels[first], every[second], labels[second])
            for one, other in _agreeing(*pair):
                if (first, one) in parts and (second, other) in parts:
                    parts.merge((first, one), (second, other))


def _overlap(
    first: Tile, first_labels: LabelMap, second: Tile, second_labels: LabelMap
) -> tuple[LabelMap, LabelMap]:
    """Both label maps where their windows overlap."""
    y0, x0 = (max(first.window[i], second.window[i]) for i in (0, 2))
    y1, x1 = (min(first.window[i], second.window[i]) for i in (1, 3))

    def part(tile: Tile, labels: LabelMap) -> LabelMap:
        top, _, left, _ = tile.window
        return labels[y0 - top : y1 - top, x0 - left : x1 - left]

    return part(first, first_labels), part(second, second_labels)


def _agreeing(first: LabelMap, second: LabelMap) -> Iterator[tuple[int, int]]:
    """Pairs of labels (both > 0) of two maps of one area whose IoU exceeds `JOIN_IOU`."""
    one, other = first.ravel().astype(np.int64), second.ravel().astype(np.int64)
    base = int(other.max(initial=0)) + 1
    pairs, shared = np.unique(one * base + other, return_counts=True)
    first_area, second_area = np.bincount(one), np.bincount(other)
    for pair, intersection in zip(pairs.tolist(), shared.tolist(), strict=True):
        a, b = divmod(pair, base)
        if a and b and intersection > JOIN_IOU * (first_area[a] + second_area[b] - intersection):
            yield a, b


def _give_away(result: LabelMap, rest: NDArray[np.bool_]) -> LabelMap:
    """Give every pixel of `rest` to the nearest segment that its connected piece touches."""
    if not rest.any():
        return result
    pieces = np.asarray(label((result > 0) | rest, connectivity=1))  # type: ignore[no-untyped-call]
    if (result > 0).any():
        nearest = distance_transform_edt(result == 0, return_distances=False, return_indices=True)
        name = result[tuple(nearest)]
        same_piece = pieces[tuple(nearest)] == pieces
        result = np.where(rest & same_piece, name, result)
        rest = rest & ~same_piece
    alone = np.asarray(label(rest, connectivity=1), np.int32)  # type: ignore[no-untyped-call]
    return np.where(rest, alone + result.max(), result).astype(np.int32)
