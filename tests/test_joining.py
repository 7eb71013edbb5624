from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_labels import Labels, random_labels

from bottomup_fast.components import relabel_by_appearance
from bottomup_fast.errors import InputError
from bottomup_fast.joining import join_fragments


def joined_one_by_one(labels: Labels, coarse: Labels, min_area: float) -> Labels:
    """The rule, segment by segment."""
    result = labels.astype(np.int64)
    for segment in np.unique(labels[labels > 0]):
        inside = labels == segment
        for whole in np.unique(coarse[coarse > 0]):
            holder = coarse == whole
            if holder.sum() >= min_area and 2 * (inside & holder).sum() > inside.sum():
                result[inside] = 1_000_000 + whole
    return relabel_by_appearance(result)


def test_parts_of_one_coarser_segment_become_one_with_their_own_outline() -> None:
    labels = np.array([[1, 1, 2, 2, 3, 3]])
    coarse = np.array([[7, 7, 7, 7, 7, 0]])
    # The third segment lies half inside only.
    assert join_fragments(labels, coarse, min_area=5).tolist() == [[1, 1, 1, 1, 2, 2]]
    assert join_fragments(labels, coarse, min_area=5.1).tolist() == labels.tolist()


def test_background_neither_joins_nor_is_joined() -> None:
    labels = np.array([[0, 0, 1, 2]])
    assert join_fragments(labels, np.full((1, 4), 5), min_area=1).tolist() == [[0, 0, 1, 1]]
    assert join_fragments(labels, np.zeros((1, 4), int), min_area=0).tolist() == labels.tolist()


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 1 << 32), st.integers(1, 20), st.integers(1, 20), st.sampled_from([0, 3, 17.5])
)
def test_every_segment_follows_the_rule(seed: int, height: int, width: int, area: float) -> None:
    rng = np.random.default_rng(seed)
    labels, coarse = random_labels(rng, height, width), random_labels(rng, height, width)
    found = join_fragments(labels, coarse, min_area=area)
    assert found.dtype == np.int32
    assert np.array_equal(found, joined_one_by_one(labels, coarse, area))
    # What numbers the segments have makes no difference, and joining again changes nothing.
    names = np.concatenate(([0], 1 + rng.permutation(9) * 11)).astype(np.uint16)
    assert np.array_equal(join_fragments(names[labels], names[coarse], min_area=area), found)
    assert np.array_equal(join_fragments(found, coarse, min_area=area), found)


@pytest.mark.parametrize(
    ("labels", "coarse", "area", "message"),
    [
        (np.ones((2, 2), int), np.ones((2, 3), int), 1, r"coarse: shape \(2, 3\) differs"),
        (np.ones((2, 2)), np.ones((2, 2), int), 1, "labels: expected integers"),
        (np.ones((2, 2), int), np.ones((2, 2)), 1, "coarse: expected integers"),
        (np.full((2, 2), -1), np.ones((2, 2), int), 1, "labels: values -1"),
        (np.ones((2, 2), int), np.full((2, 2), -1), 1, "coarse: values -1"),
        (np.ones((0, 2), int), np.ones((0, 2), int), 1, "labels: expected a non-empty map"),
        (np.ones((2, 2), int), np.ones((2, 2), int), -1, "min_area: must not be negative"),
        (np.ones((2, 2), int), np.ones((2, 2), int), float("nan"), "min_area: must not be"),
    ],
)
def test_bad_input(labels: Any, coarse: Any, area: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        join_fragments(labels, coarse, min_area=area)
