from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bottomup_fast.components import split_components
from bottomup_fast.joining import join_windows
from bottomup_fast.tiling import windows

HEIGHT, WIDTH, SIZE = 150, 210, 64


def discs(seed: int, count: int, radii: tuple[float, float]) -> NDArray[np.int32]:
    """A map of discs that do not touch."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    labels = np.zeros((HEIGHT, WIDTH), np.int32)
    for _ in range(count):
        y, x = generator.uniform(0, (HEIGHT, WIDTH))
        radius = generator.uniform(*radii)
        distance = (rows - y) ** 2 + (columns - x) ** 2
        if not labels[distance < (radius + 2) ** 2].any():
            labels[distance < radius**2] = labels.max() + 1
    return labels


def seen_through_windows(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    grid = windows(*labels.shape, SIZE, 0.5)
    every = [tile for row in grid for tile in row]
    seen = []
    for tile in every:
        y0, y1, x0, x1 = tile.window
        seen.append(split_components(labels[y0:y1, x0:x1]))
    return join_windows(grid, seen)


def same_partition(one: NDArray[np.int32], other: NDArray[np.int32]) -> bool:
    pairs = np.unique(np.stack([one.ravel(), other.ravel()]), axis=1)
    return len(pairs[0]) == len(np.unique(pairs[0])) == len(np.unique(pairs[1]))


@pytest.mark.parametrize("seed", range(8))
def test_windows_that_agree_give_the_map_back(seed: int) -> None:
    labels = discs(seed, 60, (3, 14))
    joined = seen_through_windows(labels)
    assert same_partition(labels, joined)
    assert ((labels == 0) == (joined == 0)).all()


@pytest.mark.parametrize("seed", range(4))
def test_an_object_larger_than_a_window_stays_one(seed: int) -> None:
    labels = discs(seed, 1, (45, 60))
    assert same_partition(labels, seen_through_windows(labels))


def test_the_window_that_sees_an_object_whole_decides() -> None:
    grid = windows(64, 96, 64, 0.5)
    left, right = np.zeros((64, 64), np.int32), np.zeros((64, 64), np.int32)
    left[20:40, 40:64] = 1  # cut by the left window's border
    right[20:30, 8:44] = 1  # the right window sees two objects there, whole
    right[30:40, 8:44] = 2
    joined = join_windows(grid, [left, right])
    assert len(np.unique(joined[20:40, 40:76])) == 2
    assert (joined[20:30, 40:76] != joined[30:40, 40:76]).all()
    assert (joined[:20] == 0).all()
    assert (joined[40:] == 0).all()


def test_foreground_left_over_goes_to_the_segment_it_touches() -> None:
    grid = windows(64, 96, 64, 0.5)
    left, right = np.zeros((64, 64), np.int32), np.zeros((64, 64), np.int32)
    left[10:30, 10:44] = 1  # whole, and partly in the core of the left window
    right[28:34, 5:20] = 1  # overlaps it by less than half, and touches it
    joined = join_windows(grid, [left, right])
    assert joined[12, 12] > 0
    every_core = joined > 0
    assert every_core[10:30, 10:44].all()
    assert joined[31, 50] > 0


def test_isolated_foreground_is_a_segment_of_its_own() -> None:
    grid = windows(32, 32, 64, 0.5)
    labels = np.zeros((32, 32), np.int32)
    labels[2:5, 2:5] = 1
    labels[20:25, 20:25] = 2
    assert same_partition(labels, join_windows(grid, [labels]))


def test_empty_windows_give_background() -> None:
    grid = windows(100, 100, 64, 0.5)
    count = sum(len(row) for row in grid)
    joined = join_windows(grid, [np.zeros((64, 64), np.int32)] * count)
    assert joined.shape == (100, 100)
    assert not joined.any()
