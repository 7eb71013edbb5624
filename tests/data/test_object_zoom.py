from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bottomup_fast.data.transforms import MAX_ZOOM, zoom_to_diameter


def squares(*sides: int) -> NDArray[np.int32]:
    labels = np.zeros((64, 640), np.int32)
    for number, side in enumerate(sides):
        labels[:side, number * 64 : number * 64 + side] = number + 1
    return labels


def diameter(side: int) -> float:
    return side * np.sqrt(4 / np.pi)


def test_the_median_entity_gets_the_diameter() -> None:
    assert zoom_to_diameter(squares(15, 20, 25), 30) == pytest.approx(30 / diameter(20))


def test_specks_do_not_count() -> None:
    specks = squares(20, 20, 22, 2, 2, 2, 2, 2)
    assert zoom_to_diameter(specks, 30) == pytest.approx(30 / diameter(20))


def test_the_zoom_is_bounded_both_ways() -> None:
    assert zoom_to_diameter(squares(1), 100) == MAX_ZOOM
    assert zoom_to_diameter(squares(60), 1) == 1 / MAX_ZOOM


def test_without_entities_nothing_is_zoomed() -> None:
    assert zoom_to_diameter(np.full((5, 5), -1, np.int32), 32) == 1.0
    assert zoom_to_diameter(np.zeros((5, 5), np.int32), 32) == 1.0
