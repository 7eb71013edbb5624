"""Cutting an image into windows: tiles that bound memory, patches of the finer resolutions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple


class Tile(NamedTuple):
    """A core of an image and the window around it that the network sees; all in pixels.

    Attributes:
        core: (y0, y1, x0, x1); the cores of all tiles partition the image.
        window: (y0, y1, x0, x1), the core with its halo, cut at the image border.
    """

    core: tuple[int, int, int, int]
    window: tuple[int, int, int, int]

    def core_slices(self) -> tuple[slice, slice]:
        """Where the core lies in an array of the image."""
        y0, y1, x0, x1 = self.core
        return slice(y0, y1), slice(x0, x1)

    def core_in_window(self) -> tuple[slice, slice]:
        """Where the core lies in an array of the window."""
        y0, y1, x0, x1 = self.core
        top, _, left, _ = self.window
        return slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)


def tiles(height: int, width: int, size: int, halo: int, multiple: int) -> Iterator[Tile]:
    """Tiles in raster order, cores of `size` rounded up to a grid that all window corners are on.

    Windows start at multiples of `multiple`, the network's stride, so that a pixel inside several
    windows meets the same sampling grid in each and gets the same feature.
    """
    step = math.ceil(size / multiple) * multiple
    margin = math.ceil(halo / multiple) * multiple
    for y in range(0, height, step):
        for x in range(0, width, step):
            core = (y, min(height, y + step), x, min(width, x + step))
            window = (
                max(0, core[0] - margin),
                min(height, core[1] + margin),
                max(0, core[2] - margin),
                min(width, core[3] + margin),
            )
            yield Tile(core, window)


def windows(height: int, width: int, size: int, overlap: float) -> list[list[Tile]]:
    """Rows of equal square windows that cover an image, evenly spread.

    Neighbours overlap by at least the fraction `overlap` of `size`, and their cores meet in the
    middle of the overlap; sides below `size` are covered whole.
    """

    def spread(length: int) -> list[tuple[int, int, int, int]]:
        """(core start, core end, window start, window end) along one side."""
        if length <= size:
            return [(0, length, 0, length)]
        count = math.ceil((length - size) / (size * (1 - overlap))) + 1
        starts = [round(i * (length - size) / (count - 1)) for i in range(count)]
        middles = [(one + size + other) // 2 for one, other in pairwise(starts)]
        cores = pairwise([0, *middles, length])
        return [(*core, start, start + size) for core, start in zip(cores, starts, strict=True)]

    return [
        [
            Tile((core_y0, core_y1, core_x0, core_x1), (y0, y1, x0, x1))
            for core_x0, core_x1, x0, x1 in spread(width)
        ]
        for core_y0, core_y1, y0, y1 in spread(height)
    ]
