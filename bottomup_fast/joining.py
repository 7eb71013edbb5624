"""Joining the segments of overlapping windows into one map.

Lines are defined within one forward pass only, so windows are compared by their segments: what two
windows both see, and agree on, is one segment.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import DisjointSet

from bottomup_fast.tiling import Tile

JOIN_IOU = 0.5
"""Segments of two windows are one if their IoU in the overlap exceeds this."""


def join_windows(
    grid: Sequence[Sequence[Tile]], labels: Sequence[Sequence[NDArray[np.int32]]]
) -> NDArray[np.int32]:
    """One label map of an image from those of its windows.

    Every pixel takes the segment of the window in whose core it lies. Segments of windows beside or
    below each other are joined where they agree in the overlap, and so on from window to window.

    Args:
        grid: rows of windows, as `tiling.windows` gives them.
        labels: for each window its (h, w) map: 0 background, segments 1..n in any numbering.

    Returns:
        (H, W) int32: 0 background, other values name segments, not consecutively.
    """
    height, width = grid[-1][-1].core[1], grid[-1][-1].core[3]
    result = np.zeros((height, width), np.int32)
    offset = 0
    numbered: list[list[NDArray[np.int32]]] = []
    for row, row_labels in zip(grid, labels, strict=True):
        numbered.append([])
        for tile, window_labels in zip(row, row_labels, strict=True):
            unique = np.where(window_labels > 0, window_labels + offset, 0).astype(np.int32)
            offset += int(window_labels.max(initial=0))
            numbered[-1].append(unique)
            result[tile.core_slices()] = unique[tile.core_in_window()]
    segments = DisjointSet(range(offset + 1))
    for y, row in enumerate(grid):
        for x, tile in enumerate(row):
            for other_y, other_x in ((y, x + 1), (y + 1, x)):
                if other_y < len(grid) and other_x < len(row):
                    pieces = _overlap(
                        (tile, numbered[y][x]),
                        (grid[other_y][other_x], numbered[other_y][other_x]),
                    )
                    for one, other in agreeing(*pieces):
                        segments.merge(one, other)
    roots = np.array([segments[label] for label in range(offset + 1)], np.int32)
    return roots[result]


def _overlap(
    first: tuple[Tile, NDArray[np.int32]], second: tuple[Tile, NDArray[np.int32]]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Both label maps where their windows overlap."""
    y0 = max(first[0].window[0], second[0].window[0])
    y1 = min(first[0].window[1], second[0].window[1])
    x0 = max(first[0].window[2], second[0].window[2])
    x1 = min(first[0].window[3], second[0].window[3])

    def cut(tile: Tile, labels: NDArray[np.int32]) -> NDArray[np.int32]:
        top, _, left, _ = tile.window
        return labels[y0 - top : y1 - top, x0 - left : x1 - left]

    return cut(*first), cut(*second)


def agreeing(first: NDArray[np.int32], second: NDArray[np.int32]) -> Iterator[tuple[int, int]]:
    """Pairs of labels (both > 0) of two maps of one area whose IoU exceeds `JOIN_IOU`."""
    one, other = first.ravel().astype(np.int64), second.ravel().astype(np.int64)
    base = int(max(one.max(initial=0), other.max(initial=0))) + 1
    pairs, shared = np.unique(one * base + other, return_counts=True)
    first_area, second_area = (
        dict(zip(*(array.tolist() for array in np.unique(values, return_counts=True)), strict=True))
        for values in (one, other)
    )
    for pair, intersection in zip(pairs.tolist(), shared.tolist(), strict=True):
        a, b = divmod(pair, base)
        if a and b and intersection > JOIN_IOU * (first_area[a] + second_area[b] - intersection):
            yield a, b
