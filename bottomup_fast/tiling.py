"""Cutting an image into windows: tiles that bound memory, patches of the finer resolutions."""

from __future__ import annotations

import math
from collections.abc import Iterator
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
    """Tiles in raster order with cores of at most `size`, all window corners on a grid.

    Windows start at multiples of `multiple`, the network's stride, so that a pixel inside several
    windows meets the same sampling grid in each and gets the same feature.
    """
    step = max(multiple, size // multiple * multiple)
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


def patch_boxes(
    height: int, width: int, size: int, overlap: float
) -> list[tuple[int, int, int, int]]:
    """Square windows (x0, y0, x1, y1) of `size` that cover an image, evenly spread.

    Neighbours overlap by at least the fraction `overlap`; sides below `size` are covered whole.
    """

    def starts(length: int) -> list[int]:
        if length <= size:
            return [0]
        count = math.ceil((length - size) / (size * (1 - overlap))) + 1
        return [round(i * (length - size) / (count - 1)) for i in range(count)]

    return [
        (x, y, min(width, x + size), min(height, y + size))
        for y in starts(height)
        for x in starts(width)
    ]
