from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from scipy import ndimage

from bottomup_fast.components import (
    as_label_map,
    constant_runs,
    fold_specks,
    relabel_by_appearance,
    segment_means,
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


def fold_one_by_one(
    labels: Labels, min_area: int, similarity: NDArray[np.float64] | None
) -> Labels:
    """The definition, with everything counted afresh after each fold."""
    labels = labels.copy()
    stuck: set[int] = set()
    while True:
        areas = {i: int((labels == i).sum()) for i in set(labels[labels > 0].tolist()) - stuck}
        specks = sorted((area, i) for i, area in areas.items() if area < min_area)
        if not specks:
            return labels
        speck = specks[0][1]
        padded = np.pad(labels, 1, constant_values=-1)
        inside = padded == speck
        touching = np.concatenate(
            [np.roll(padded, step, axis)[inside] for axis in (0, 1) for step in (1, -1)]
        )
        hosts = set(touching.tolist()) - {speck, -1}
        if not hosts:
            stuck.add(speck)
            continue
        labels[labels == speck] = max(
            hosts,
            key=lambda j: (
                0.0 if similarity is None else similarity[speck, j],
                int((touching == j).sum()),
                -j,
            ),
        )


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


@settings(max_examples=200)
@given(label_maps, st.integers(0, 12), st.booleans(), st.integers(0, 1000))
def test_folding_follows_its_definition(
    labels: Labels, min_area: int, with_similarity: bool, seed: int
) -> None:
    labels = np.minimum(labels, labels.size)
    size = int(labels.max()) + 1
    rng = np.random.default_rng(seed)
    similarity = rng.integers(0, 3, (size, size)) / 2 if with_similarity and size > 0 else None
    folded = fold_specks(labels, min_area, similarity)
    assert folded.dtype == np.int32
    np.testing.assert_array_equal(folded, fold_one_by_one(labels, min_area, similarity))


@given(label_maps, st.integers(1, 12))
def test_folded_pieces_stay_connected_and_none_with_a_neighbour_is_small(
    labels: Labels, min_area: int
) -> None:
    pieces = split_components(labels)
    folded = fold_specks(pieces, min_area)
    np.testing.assert_array_equal(folded == -1, labels == -1)
    borders = shared_borders(folded)
    for piece in first_appearances(folded):
        assert pieces_of(folded, piece) == 1
        assert (folded == piece).sum() >= min_area or not borders[piece]


def test_a_speck_goes_where_its_border_is_longest_or_where_it_matches() -> None:
    labels = np.array([[1, 1, 1, 2], [1, 3, 2, 2], [1, 1, 2, 2]])
    assert fold_specks(labels, 2)[1, 1] == 1
    similarity = np.eye(4)
    similarity[3, 2] = 0.9
    assert fold_specks(labels, 2, similarity)[1, 1] == 2
    assert fold_specks(labels, 2, lambda speck, other: -float(other))[1, 1] == 1
    assert fold_specks(labels, 2, lambda speck, other: float(other))[1, 1] == 2


def test_background_takes_specks_and_ignored_pixels_do_not() -> None:
    assert fold_specks(np.array([[0, 0, 1], [0, 0, 0]]), 2).tolist() == [[0, 0, 0], [0, 0, 0]]
    assert fold_specks(np.array([[-1, -1, 1], [-1, -1, -1]]), 2)[0, 2] == 1
    kept_out = np.zeros((3, 3))
    kept_out[:, 0] = -np.inf
    assert fold_specks(np.array([[0, 0, 1, 2, 2]]), 2, kept_out).tolist() == [[0, 0, 2, 2, 2]]


def test_folding_ends_with_one_segment_at_the_least() -> None:
    assert len(np.unique(fold_specks(np.arange(1, 21).reshape(4, 5), 1000))) == 1


def test_input_is_left_alone() -> None:
    labels = np.array([[1, 2], [2, 2]], np.int32)
    for result in (fold_specks(labels, 2), fold_specks(labels, 0), split_components(labels)):
        assert not np.shares_memory(result, labels)
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
    with pytest.raises(InputError, match=rf"^labels: .*{reason}"):
        fold_specks(labels, 3)


def test_other_errors() -> None:
    labels = np.array([[1, 1, 2]])
    with pytest.raises(InputError, match=r"^connectivity: expected 1 or 2, got 3$"):
        split_components(labels, connectivity=3)
    with pytest.raises(InputError, match=r"^labels: label 9 exceeds the number of pixels, 2$"):
        fold_specks(np.array([[1, 9]]), 2)
    for similarity in (np.eye(2), np.eye(4), np.full((3, 3), np.nan)):
        with pytest.raises(InputError, match=r"^similarity: expected shape \(3, 3\)"):
            fold_specks(labels, 2, similarity)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 1 << 32), st.integers(1, 20), st.integers(1, 20), st.integers(0, 9))
def test_means_over_segments(seed: int, height: int, width: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, count + 1, (height, width)).astype(np.int32)
    values: Any
    for values in (
        rng.normal(size=labels.shape).astype(np.float32),
        rng.random(labels.shape) < 0.3,
    ):
        found, doubled = segment_means(labels, values, 2 * values)
        assert found.shape == (labels.max(),)
        assert doubled == pytest.approx(2 * found)
        for label, mean in enumerate(found, start=1):
            inside = values[labels == label]
            assert mean == pytest.approx(inside.mean(dtype=float) if inside.size else 0)
        assert np.array_equal([found], segment_means(labels.copy(order="F"), values[:, :]))
