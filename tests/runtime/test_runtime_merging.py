from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from merging_cases import (
    fold_one_by_one,
    joined_one_by_one,
    refined_by_reference,
    refinements,
)
from random_labels import random_labels
from scipy import ndimage

import bottomup_fast as bf
from bottomup_fast import components, runtime


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 1 << 32), st.integers(1, 25), st.integers(1, 25), st.integers(0, 12))
def test_pieces(seed: int, height: int, width: int, min_area: int) -> None:
    labels = random_labels(np.random.default_rng(seed), height, width, -1)
    numbered = runtime.relabel_by_appearance(labels)
    assert np.array_equal(numbered, components.relabel_by_appearance(labels))
    for connectivity in (1, 2):
        pieces = runtime.split_components(labels, connectivity=connectivity)
        expected = components.split_components(labels, connectivity=connectivity)
        assert np.array_equal(pieces, expected)
        folded = runtime.fold_specks(pieces, min_area)
        assert np.array_equal(folded, fold_one_by_one(expected, min_area, None))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 1 << 32), st.integers(1, 9), st.integers(1, 9), st.integers(1, 12))
def test_folded_pieces_stay_connected_and_none_with_a_neighbour_is_small(
    seed: int, height: int, width: int, min_area: int
) -> None:
    labels = random_labels(np.random.default_rng(seed), height, width, -1)
    folded = runtime.fold_specks(runtime.split_components(labels), min_area)
    assert np.array_equal(folded == -1, labels == -1)
    borders = components.shared_borders(folded)
    for piece in np.unique(folded[folded > 0]).tolist():
        assert ndimage.label(folded == piece)[1] == 1
        assert (folded == piece).sum() >= min_area or not borders[piece]


def test_a_speck_goes_where_its_border_is_longest() -> None:
    labels = np.array([[1, 1, 1, 2], [1, 3, 2, 2], [1, 1, 2, 2]])
    assert runtime.fold_specks(labels, 2)[1, 1] == 1
    assert len(np.unique(runtime.fold_specks(np.arange(1, 21).reshape(4, 5), 1000))) == 1


def test_background_takes_specks_and_ignored_pixels_do_not() -> None:
    assert runtime.fold_specks(np.array([[0, 0, 1], [0, 0, 0]]), 2).tolist() == [[0] * 3] * 2
    assert runtime.fold_specks(np.array([[-1, -1, 1], [-1, -1, -1]]), 2)[0, 2] == 1


def test_input_is_left_alone() -> None:
    labels = np.array([[1, 2], [2, 2]], np.int32)
    for result in (runtime.fold_specks(labels, 2), runtime.fold_specks(labels, 0)):
        assert not np.shares_memory(result, labels)
    assert labels.tolist() == [[1, 2], [2, 2]]


@settings(max_examples=200, deadline=None)
@given(refinements())
def test_refinement(case: tuple[Any, list[Any], dict[str, Any]]) -> None:
    coarse, patches, rules = case
    expected = refined_by_reference(coarse, patches, **rules)
    assert np.array_equal(runtime.refine(coarse, patches, **rules), expected)


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 1 << 32), st.integers(1, 30), st.integers(1, 30), st.sampled_from([0, 3, 17.5])
)
def test_joining(seed: int, height: int, width: int, min_area: float) -> None:
    rng = np.random.default_rng(seed)
    labels, coarse = random_labels(rng, height, width), random_labels(rng, height, width)
    expected = joined_one_by_one(labels, coarse, min_area)
    assert np.array_equal(runtime.join_fragments(labels, coarse, min_area=min_area), expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: runtime.join_fragments(m, m[1:], min_area=1), "coarse: differs from labels"),
        (lambda m: runtime.join_fragments(m, m - 5, min_area=1), "coarse: labels must not be"),
        (lambda m: runtime.join_fragments(m - 5, m, min_area=1), "labels: labels must not be"),
        (lambda m: runtime.join_fragments(m, m * 1.0, min_area=1), "coarse: expected an array"),
        (lambda m: runtime.join_fragments(m, m, min_area=-1), "min_area: must not be negative"),
        (lambda m: runtime.join_fragments(m, m, min_area=math.nan), "min_area: must not be"),
        (lambda m: runtime.refine(m.astype(float), []), "labels: expected an array of integers"),
        (lambda m: runtime.refine(m[0], []), "labels: expected a non-empty map"),
        (lambda m: runtime.refine(m[:0], []), "labels: expected a non-empty map"),
        (lambda m: runtime.refine(m - 5, []), "labels must not be below 0"),
        (lambda m: runtime.refine(m + (1 << 40), []), "labels beyond 32 bits"),
        (lambda m: runtime.refine(m, [(m, (0, 0, 3, 3))]), r"patches\[0\].box"),
        (lambda m: runtime.refine(m, [(m, (1, 0, 5, 3))]), r"patches\[0\].box"),
        (lambda m: runtime.refine(m, [(m, m[0, :3])]), r"patches\[0\].box: expected four"),
        (lambda m: runtime.refine(m, [(m - 5, (0, 0, 4, 3))]), r"patches\[0\].labels"),
        (lambda m: runtime.refine(m, [], min_area=0), "min_area: 0 is below 1"),
        (lambda m: runtime.refine(m, [], refine_iou=0.0), "refine_iou: 0.0+ is outside"),
        (lambda m: runtime.refine(m, [], contain=float("nan")), "contain: nan is outside"),
        (lambda m: runtime.split_components(m, connectivity=3), "connectivity: expected 1 or 2"),
        (lambda m: runtime.split_components(m - 5), "labels must not be below -1"),
        (lambda m: runtime.fold_specks(m + 99, 2), "exceeds the number of pixels"),
    ],
)
def test_refused_input(call: Any, message: str) -> None:
    with pytest.raises(bf.InputError, match=message) as raised:
        call(np.arange(12).reshape(3, 4))
    assert "\n" not in str(raised.value)
