from __future__ import annotations

from typing import Any

import numpy as np
import pycocotools.mask
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from bottomup_fast.data.run_lengths import area, as_run_lengths, paint, run_counts
from bottomup_fast.errors import InputError

MASKS = arrays(
    np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=40), elements=st.integers(0, 1)
)


def columns_of(mask: NDArray[np.uint8]) -> list[int]:
    """Uncompressed run lengths, by definition."""
    counts, value = [0], 0
    for pixel in mask.T.ravel():
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    return counts


@given(MASKS)
@settings(max_examples=200, deadline=None)
def test_both_run_lengths_give_what_pycocotools_gives(mask: NDArray[np.uint8]) -> None:
    size = (mask.shape[0], mask.shape[1])
    code = pycocotools.mask.encode(np.asfortranarray(mask))
    text = as_run_lengths({"size": list(size), "counts": code["counts"].decode()}, size)
    assert text == as_run_lengths({"size": list(size), "counts": columns_of(mask)}, size)
    assert text == {"size": list(size), "counts": code["counts"]}
    assert run_counts(text).tolist() == columns_of(mask)
    assert area(text) == mask.sum()
    np.testing.assert_array_equal(paint([text], [], size), mask)


@given(st.lists(st.floats(-3, 42).map(lambda x: round(x, 2)), min_size=6, max_size=20))
@settings(max_examples=100, deadline=None)
def test_polygons_are_drawn_by_pycocotools(values: list[float]) -> None:
    values = values[: len(values) // 2 * 2]
    mask = as_run_lengths([values], (40, 30))
    expected = pycocotools.mask.frPyObjects([values], 40, 30)[0]
    assert pycocotools.mask.area(mask) == pycocotools.mask.area(expected) == area(mask)


def test_polygons_of_one_object_are_one_mask() -> None:
    left, right = [0, 0, 2, 0, 2, 3, 0, 3], [4, 1, 6, 1, 6, 3, 4, 3]
    mask = as_run_lengths([left, right], (4, 6))
    expected = [[1, 1, 0, 0, 0, 0], [1, 1, 0, 0, 1, 1], [1, 1, 0, 0, 1, 1], [0] * 6]
    assert pycocotools.mask.decode([mask])[..., 0].tolist() == expected


@given(st.binary(max_size=30) | st.text("0123456789:;<=>?@PQRo", max_size=30))
@settings(max_examples=300, deadline=None)
def test_any_text_is_refused_or_a_mask(counts: bytes | str) -> None:
    try:
        mask = as_run_lengths({"size": [9, 7], "counts": counts}, (9, 7))
    except InputError:
        return
    decoded = pycocotools.mask.decode([mask])[..., 0]
    np.testing.assert_array_equal(paint([mask], [], (9, 7)), decoded)


def test_smaller_masks_stay_on_top_of_larger_ones() -> None:
    def columns(first: int, last: int) -> Any:
        return as_run_lengths({"size": [1, 6], "counts": [first, last - first, 6 - last]}, (1, 6))

    masks = [columns(1, 3), columns(0, 5), columns(2, 4)]
    assert paint(masks, [], (1, 6)).tolist() == [[2, 1, 3, 3, 2, 0]]
    assert paint(masks, [columns(4, 6)], (1, 6)).tolist() == [[2, 1, 3, 3, 2, -1]]
    assert paint([], [], (2, 3)).tolist() == [[0] * 3] * 2


@pytest.mark.parametrize(
    ("segmentation", "problem"),
    [
        (None, "neither polygons nor run lengths"),
        ({"counts": "0"}, "neither polygons nor run lengths"),
        ({"size": [4, 7], "counts": [28]}, r"size \[4, 7\], its image is \[4, 6\]"),
        ({"size": [4, 6], "counts": [23]}, "counts add up to 23, not to the image's 24 pixels"),
        ({"size": [4, 6], "counts": [2**62, 2**62, 2**62, 2**62, 24]}, "counts add up to"),
        ({"size": [4, 6], "counts": [25, -1]}, "counts add up to 24, not to the image's 24"),
        ({"size": [4, 6], "counts": [24.0]}, "counts must be integers"),
        ({"size": [4, 6], "counts": [2**70]}, "counts must be integers"),
        ({"size": [4, 6], "counts": []}, "counts must be integers"),
        ({"size": [4, 6], "counts": 24}, "counts must be a list of integers or text"),
        ({"size": [4, 6], "counts": ""}, "counts are not COCO's text"),
        ({"size": [4, 6], "counts": "o"}, "counts are not COCO's text"),
        ({"size": [4, 6], "counts": "€"}, "counts add up to 15"),
        ({"size": [4, 6], "counts": "oooooooo0"}, "counts are too large"),
        ([], "no polygon"),
        ([[0, 0, 1, 1]], "a polygon needs three points"),
        ([[0, 0, 1, 1, 2]], "polygons must be lists of x1, y1"),
        ([["a"] * 6], "polygons must be lists of x1, y1"),
        ([[0, 0, 1, 1, 2, float("nan")]], "a polygon lies far outside of the image"),
        ([[0, 0, 1, 1, 2, 1e30]], "a polygon lies far outside of the image"),
        ([[0, 0, 6, 4] * 10**5], "a polygon's outline exceeds 1048576 pixels"),
        ([{"x": 1}], "polygons must be lists of x1, y1"),
    ],
)
def test_broken_segmentations_are_refused(segmentation: Any, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        as_run_lengths(segmentation, (4, 6))
