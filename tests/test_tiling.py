from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bottomup_fast.tiling import tiles, windows

sides = st.integers(1, 150)


@settings(max_examples=60, deadline=None)
@given(sides, sides, st.integers(8, 90), st.integers(0, 70), st.sampled_from([1, 8, 32]))
def test_tiles(height: int, width: int, size: int, halo: int, multiple: int) -> None:
    covered = np.zeros((height, width), int)
    cut = list(tiles(height, width, size, halo, multiple))
    numbers = np.arange(height * width).reshape(height, width)
    for tile in cut:
        y0, y1, x0, x1 = tile.core
        top, bottom, left, right = tile.window
        assert 0 <= top <= y0 < y1 <= bottom <= height
        assert 0 <= left <= x0 < x1 <= right <= width
        assert max(y1 - y0, x1 - x0) < size + multiple
        # The whole halo is there, except beyond the image.
        assert top <= max(0, y0 - halo)
        assert left <= max(0, x0 - halo)
        assert bottom >= min(height, y1 + halo)
        assert right >= min(width, x1 + halo)
        assert max(y0 - top, x0 - left, bottom - y1, right - x1) < halo + multiple
        # The sampling grid of a window is the image's, and only the image's border is padded.
        assert top % multiple == left % multiple == 0
        assert bottom % multiple == 0 or bottom == height
        assert right % multiple == 0 or right == width
        covered[tile.core_slices()] += 1
        view = numbers[top:bottom, left:right]
        core = numbers[tile.core_slices()]
        assert np.array_equal(view[tile.core_in_window()], core)
    assert (covered == 1).all()
    corners = [(tile.core[0], tile.core[2]) for tile in cut]
    assert corners == sorted(corners)
    if max(height, width) <= size:
        assert len(cut) == 1


@settings(max_examples=60, deadline=None)
@given(sides, sides, st.integers(8, 90), st.floats(0, 0.9))
def test_windows(height: int, width: int, size: int, overlap: float) -> None:
    rows = windows(height, width, size, overlap)
    assert len({len(row) for row in rows}) == 1
    covered = np.zeros((height, width), int)
    for tile in (tile for row in rows for tile in row):
        y0, y1, x0, x1 = tile.core
        top, bottom, left, right = tile.window
        assert (bottom - top, right - left) == (min(size, height), min(size, width))
        assert 0 <= top <= y0 <= y1 <= bottom <= height
        assert 0 <= left <= x0 <= x1 <= right <= width
        covered[tile.core_slices()] += 1
    assert (covered == 1).all()
    columns = [tile.window[2:] for tile in rows[0]]
    starts = [row[0].window[:2] for row in rows]
    for line, length in ((columns, width), (starts, height)):
        assert line[0][0] == 0
        assert line[-1][1] == length
        for (_, end), (start, _) in pairwise(line):
            # Windows start at whole pixels.
            assert end - start >= overlap * size - 1
        shared = [end - start for (_, end), (start, _) in pairwise(line)]
        assert not shared or max(shared) - min(shared) <= 1
        fewer = len(line) - 1
        # One window less would leave too little overlap.
        assert fewer < 1 or length - size > (fewer - 1) * size * (1 - overlap) - 1e-6


def test_windows_by_hand() -> None:
    row = windows(50, 100, 60, 0.25)[0]
    assert [tile.window for tile in row] == [(0, 50, 0, 60), (0, 50, 40, 100)]
    assert [tile.core for tile in row] == [(0, 50, 0, 50), (0, 50, 50, 100)]
    assert len(windows(50, 106, 60, 0.25)[0]) == 3
    assert len(windows(60, 60, 60, 0.25)) == 1
