from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from scipy import ndimage

from bottomup_fast.components import (
    as_label_map,
    constant_runs,
    relabel_by_appearance,
    shared_borders,
    split_components,
)
from bottomup_fast.errors import InputError

Labels = NDArray[np.int32]
label_maps = arrays(
    np.int32, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(-1, 4)
)
EIGHT = np.ones((3, 3), int)


def pieces_of(labels: Labels, label: int, connectivity: int = 1) -> int:
    structure = EIGHT if connectivity == 2 else None
    return int(ndimage.label(labels == label, structure)[1])


def first_appearances(labels: Labels) -> list[int]:
    return list(dict.fromkeys(label for label in labels.ravel().tolist() if label > 0))


@given(label_maps, st.sampled_from([1, 2]))
def test_split_gives_every_connected_piece_a_label_of_its_own(
    labels: Labels, connectivity: int
) -> None:
    pieces = split_components(labels, connectivity=connectivity)
    assert pieces.dtype == np.int32
    np.testing.assert_array_equal(pieces[labels <= 0], labels[labels <= 0])
    assert first_appearances(pieces) == list(range(1, pieces.max(initial=0) + 1))
    expected = sum(pieces_of(labels, label, connectivity) for label in range(1, 5))
    assert len(first_appearances(pieces)) == expected
    for piece in first_appearances(pieces):
        assert pieces_of(pieces, piece, connectivity) == 1
        assert len(set(labels[pieces == piece].tolist())) == 1


def test_split_by_hand() -> None:
    labels = np.array([[5, 0, 2], [0, 5, 2], [-1, 5, 5]])
    four = [[1, 0, 2], [0, 3, 2], [-1, 3, 3]]
    eight = [[1, 0, 2], [0, 1, 2], [-1, 1, 1]]
    assert split_components(labels).tolist() == four
    assert split_components(labels, connectivity=2).tolist() == eight


@given(label_maps)
def test_relabelling_keeps_the_partition_and_numbers_by_appearance(labels: Labels) -> None:
    labels = np.where(labels > 0, labels * 1_000_003 % 7_000_000, labels).astype(np.int32)
    numbered = relabel_by_appearance(labels)
    assert first_appearances(numbered) == list(range(1, numbered.max(initial=0) + 1))
    np.testing.assert_array_equal(numbered[labels <= 0], labels[labels <= 0])
    pairs = set(zip(labels.ravel().tolist(), numbered.ravel().tolist(), strict=True))
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
    np.testing.assert_array_equal(relabel_by_appearance(numbered), numbered)


def test_input_is_left_alone() -> None:
    labels = np.array([[1, 2], [2, 2]], np.int32)
    assert not np.shares_memory(split_components(labels), labels)
    assert labels.tolist() == [[1, 2], [2, 2]]


def test_shared_borders_are_counted_in_pixel_pairs() -> None:
    borders = shared_borders(np.array([[1, 1, 0], [2, -1, 0], [2, 2, 0]], np.int32))
    assert {a: dict(b) for a, b in borders.items()} == {
        0: {1: 1, 2: 1},
        1: {0: 1, 2: 1},
        2: {0: 1, 1: 1},
    }


def test_constant_runs() -> None:
    starts, lengths = constant_runs(np.array([7, 7, 1, 7, 7, 7]))
    assert (starts.tolist(), lengths.tolist()) == ([0, 2, 3], [2, 1, 3])
    starts, lengths = constant_runs(np.array([4]))
    assert (starts.tolist(), lengths.tolist()) == ([0], [1])


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (np.zeros(3, int), r"got shape \(3,\)"),
        (np.zeros((0, 3), int), r"got shape \(0, 3\)"),
        (np.zeros((2, 2)), "got float64"),
        (np.zeros((2, 2), bool), "got bool"),
        (np.array([[-2, 0]]), r"values -2\.\.0"),
        (np.array([[0, 2**31]]), r"values 0\.\.2147483648"),
        (np.array([[0, 2**64 - 1]], np.uint64), "at most"),
    ],
)
def test_label_maps_are_checked(labels: NDArray[Any], reason: str) -> None:
    for function in (as_label_map, split_components, relabel_by_appearance):
        with pytest.raises(InputError, match=rf"^labels: .*{reason}"):
            function(labels)


def test_another_connectivity_is_refused() -> None:
    with pytest.raises(InputError, match=r"^connectivity: expected 1 or 2, got 3$"):
        split_components(np.array([[1, 1, 2]]), connectivity=3)
