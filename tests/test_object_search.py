"""Search for the size of objects, in a world of squares that fall into parts when large."""

from __future__ import annotations

import numpy as np
import pytest

from bottomup_fast.components import LabelMap
from bottomup_fast.object_search import CLOSE, LARGEST_ZOOM, SEARCHED_ZOOM, search_zoom

FIRST, WANTED = 0.5, 32.0
AREA = 256 * 256
WHOLE = 1.6 * WANTED
"""Diameter up to which an object is seen whole."""
SMALLEST = 8.0


class World:
    """Twelve square objects of one size; looks at them are kept."""

    def __init__(self, diameter: float) -> None:
        self.side = diameter * np.sqrt(np.pi) / 2
        self.zooms: list[float] = []

    def __call__(self, zoom: float) -> tuple[LabelMap, float]:
        self.zooms.append(zoom)
        side = round(self.side * zoom)
        labels = np.arange(1, 13, dtype=np.int32).reshape(3, 4)
        diameter = 2 * side / np.sqrt(np.pi)
        if diameter < SMALLEST:
            labels = np.zeros_like(labels)
        parts = int(np.ceil(diameter / WHOLE))
        labels = np.kron(labels * parts**2, np.ones((side, side), np.int32))
        if parts > 1:
            part = np.arange(side) * parts // side
            labels -= np.tile(part[:, None] * parts + part, (3, 4))
        return labels.astype(np.int32), zoom


@pytest.mark.parametrize("diameter", [9, 12, 16, 23, 32, 45, 64, 90, 100])
def test_objects_are_seen_in_the_wanted_size(diameter: float) -> None:
    world = World(diameter)
    zoom, seen = search_zoom(world, FIRST, WANTED, AREA)
    assert zoom is not None
    assert WANTED / 1.25 < diameter * zoom < WANTED * 1.25
    assert seen is None or seen[1] == zoom
    assert world.zooms == sorted(set(world.zooms))
    # Never so near that objects fall into parts.
    assert diameter * max(world.zooms) <= WHOLE


def test_from_above_parts_would_pass_for_objects() -> None:
    zoom, _ = search_zoom(World(64), 2.0, WANTED, AREA)
    assert zoom is not None
    assert 64 * zoom > 3 * WANTED


def test_what_was_seen_at_the_zoom_is_not_looked_at_again() -> None:
    world = World(60)
    zoom, seen = search_zoom(world, FIRST, WANTED, AREA)
    assert seen is not None
    assert zoom == seen[1] == FIRST
    assert world.zooms == [FIRST]


def test_objects_larger_than_wanted_at_the_first_look() -> None:
    world = World(98)
    zoom, seen = search_zoom(world, FIRST, WANTED, AREA)
    assert zoom == pytest.approx(WANTED / 98, rel=0.03)
    assert zoom < FIRST / CLOSE
    assert seen is None
    assert world.zooms == [FIRST]


def test_much_enlarged_objects_need_not_be_of_quite_the_wanted_size() -> None:
    world = World(12.5)
    zoom, seen = search_zoom(world, FIRST, WANTED, AREA)
    assert seen is not None
    assert zoom == seen[1] == SEARCHED_ZOOM * FIRST
    assert 12.5 * zoom < WANTED / CLOSE


def test_small_objects_are_enlarged_so_far_and_no_farther() -> None:
    world = World(4.5)
    zoom, seen = search_zoom(world, FIRST, WANTED, AREA)
    assert seen is not None
    assert zoom == seen[1] == LARGEST_ZOOM * FIRST
    assert world.zooms == [0.5, 1.0, 2.0, 4.0]


@pytest.mark.parametrize(
    ("side", "expected"), [(256, 4.0), (400, 2.56), (512, 2.0), (2048, SEARCHED_ZOOM * FIRST)]
)
def test_large_images_are_enlarged_less(side: int, expected: float) -> None:
    zoom, _ = search_zoom(World(4.5), FIRST, WANTED, side * side)
    assert zoom == pytest.approx(expected)


def test_without_objects_there_is_no_zoom() -> None:
    world = World(1)
    assert search_zoom(world, FIRST, WANTED, AREA) == (None, None)
    assert world.zooms == [0.5, 1.0, 2.0]


@pytest.mark.parametrize(
    ("growth", "expected"),
    [(0, [0.5, 0.886, 1.571]), (0.3, [0.5, 0.886, 1.323])],
)
def test_texture_that_looks_alike_at_every_zoom_is_not_enlarged_for_long(
    growth: float, expected: list[float]
) -> None:
    zooms: list[float] = []

    def texture(zoom: float) -> tuple[LabelMap, float]:
        zooms.append(zoom)
        tiles = np.arange(1, 17, dtype=np.int32).reshape(4, 4)
        side = round(16 * (zoom / FIRST) ** growth)
        return np.kron(tiles, np.ones((side, side), np.int32)), zoom

    zoom, seen = search_zoom(texture, FIRST, WANTED, AREA)
    assert zooms == pytest.approx(expected, abs=1e-3)
    assert seen is not None
    assert zoom == seen[1] == zooms[-1]
