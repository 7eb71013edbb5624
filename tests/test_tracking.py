from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bottomup_fast import InputError
from bottomup_fast.tracking import Tracker, segment_lines

Array = NDArray[Any]
SHAPE = (80, 100)
AXES = np.eye(8)


def scene(
    places: list[tuple[int, int]], objects: list[int] | None = None, side: int = 10
) -> tuple[Array, list[int]]:
    """Squares of `side` at (y, x), labelled 1..n in order; and the number of each one seen."""
    labels = np.zeros(SHAPE, np.int32)
    seen = []
    for number, (y, x) in zip(objects or range(len(places)), places, strict=True):
        box = labels[max(0, y) : max(0, y + side), max(0, x) : max(0, x + side)]
        if box.size:
            seen.append(number)
            box[:] = len(seen)
    return labels, seen


def near(line: Array, degrees: float, rng: np.random.Generator) -> Array:
    """A line at an angle, of random sign."""
    other = rng.normal(size=line.shape)
    other -= (other @ line) * line
    other /= np.linalg.norm(other)
    angle = np.radians(degrees)
    return rng.choice([-1, 1]) * (np.cos(angle) * line + np.sin(angle) * other)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_ids_stay_under_renumbering_other_signs_and_small_motion(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cells = rng.permutation(20)[:7]
    places = np.stack([cells // 5 * 20 + 4, cells % 5 * 20 + 4], axis=1)
    velocity = rng.integers(-1, 2, places.shape)
    # Some look alike.
    lines = AXES[rng.integers(0, 4, len(places))]
    tracker = Tracker()
    known: dict[int, int] = {}
    for _ in range(6):
        order = rng.permutation(len(places))
        labels, seen = scene([tuple(places[i]) for i in order], order.tolist())
        ids = tracker.update(labels, np.array([near(lines[i], 20, rng) for i in seen]))
        for number, given_id in zip(seen, ids.tolist(), strict=True):
            assert known.setdefault(number, given_id) == given_id
        places = places + velocity
    assert sorted(known.values()) == list(range(1, len(known) + 1))


def test_first_ids_are_the_labels() -> None:
    labels, _ = scene([(0, 0), (30, 30), (50, 70)])
    ids = Tracker().update(labels, AXES[:3])
    assert ids.dtype == np.int64
    assert ids.tolist() == [1, 2, 3]


@pytest.mark.parametrize(("gap", "same"), [(1, True), (3, True), (4, False)])
def test_an_object_comes_back_within_the_memory(gap: int, same: bool) -> None:
    """Moving on behind what hides it, beside another of the same line."""
    tracker = Tracker(memory=3)
    for step in range(5):
        tracker.update(scene([(10, 4 * step), (40, 4 * step)])[0], AXES[[0, 0]])
    for step in range(5, 5 + gap):
        assert tracker.update(scene([(40, 4 * step)])[0], AXES[[0]]).tolist() == [2]
    step = 5 + gap
    back = tracker.update(scene([(10, 4 * step), (40, 4 * step)])[0], AXES[[0, 0]])
    assert back.tolist() == ([1, 2] if same else [3, 2])


def test_ids_are_never_given_again() -> None:
    tracker = Tracker(memory=1)
    given_ids: list[int] = []
    empty = scene([])[0]
    for step in range(5):
        ids = tracker.update(scene([(10, 10 * step), (50, 10)])[0], AXES[[step, step + 1]])
        given_ids += ids.tolist()
        for _ in range(2):
            assert tracker.update(empty, AXES[:0]).tolist() == []
    assert given_ids == list(range(1, 11))


def test_another_object_in_the_same_place_is_new() -> None:
    labels, _ = scene([(10, 10), (40, 40)])
    tracker = Tracker()
    tracker.update(labels, AXES[[0, 1]])
    assert tracker.update(labels, AXES[[2, 1]]).tolist() == [3, 2]
    # The first is remembered meanwhile.
    assert tracker.update(labels, AXES[[0, 1]]).tolist() == [1, 2]


@pytest.mark.parametrize(("degrees", "same"), [(44, True), (46, False)])
def test_the_window_is_the_bandwidth(degrees: float, same: bool) -> None:
    labels, _ = scene([(10, 10)])
    tracker = Tracker(45)
    tracker.update(labels, AXES[[0]])
    line = near(AXES[0], degrees, np.random.default_rng(0))
    assert tracker.update(labels, line[None]).tolist() == [1 if same else 2]


def test_a_line_of_its_own_needs_no_place_and_others_do() -> None:
    tracker = Tracker()
    tracker.update(scene([(0, 0), (0, 50), (60, 0)])[0], AXES[[0, 1, 1]])
    moved = tracker.update(scene([(40, 80), (20, 20), (60, 0)])[0], AXES[[0, 1, 1]])
    assert moved.tolist() == [1, 4, 3]


def test_look_alikes_in_steady_motion_keep_their_ids() -> None:
    """A row of equal objects that at last moves by more than half of their spacing."""
    tracker = Tracker()
    x = 0
    for step in range(6):
        x += 2 * step
        ids = tracker.update(scene([(10, x), (10, x + 12), (10, x + 24)])[0], AXES[[0, 0, 0]])
        assert ids.tolist() == [1, 2, 3]


def test_of_two_parts_the_larger_keeps_the_id() -> None:
    tracker = Tracker()
    labels, _ = scene([(10, 10)], side=20)
    tracker.update(labels, AXES[[0]])
    labels[10:17, 10:30] = 2
    labels[17:30, 10:30] = 1
    assert tracker.update(labels, AXES[[0, 0]]).tolist() == [1, 2]


def test_lines_that_are_places_change_as_objects_move() -> None:
    tracker = Tracker(lines_are_places=True)
    for step in range(8):
        labels, _ = scene([(10, 5 * step), (40, 60 - 5 * step)])
        assert tracker.update(labels, AXES[[step, (step + 3) % 8]]).tolist() == [1, 2]
    assert tracker.update(scene([(60, 0)])[0], AXES[[0]]).tolist() == [3]


def test_objects_leave_the_image_and_others_enter() -> None:
    tracker = Tracker()
    for step in range(15):
        labels, seen = scene([(20, 5 - 3 * step), (20, 95 - 3 * step)])
        ids = tracker.update(labels, AXES[[0] * len(seen)])
        assert ids.tolist() == [number + 1 for number in seen]


@pytest.mark.parametrize(
    ("labels", "lines", "reason"),
    [
        (np.zeros((2, 2, 2), int), AXES[:0], "labels: expected"),
        (np.array([[0, 2]]), AXES[:2], "labels: values up to 2 leave 1 out"),
        (np.array([[0, 1]]), AXES[:2], "lines must be 1"),
        (np.array([[0, 1]]), AXES[0], "lines must be 1"),
        (np.array([[0, 1]]), AXES[:1] * np.nan, "lines must be 1"),
        (np.array([[0, 1]]), AXES[:1, :4], "lines must have as many dimensions"),
    ],
)
def test_bad_input(labels: Array, lines: Array, reason: str) -> None:
    tracker = Tracker()
    tracker.update(scene([(0, 0)])[0], AXES[:1])
    with pytest.raises(InputError, match=f"^{reason}"):
        tracker.update(labels, lines)


@pytest.mark.parametrize("arguments", [{"bandwidth_deg": 0}, {"bandwidth_deg": 90}, {"memory": -1}])
def test_bad_settings(arguments: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"^{next(iter(arguments))} must"):
        Tracker(**arguments)


def test_segment_lines_are_those_of_their_pixels_modes() -> None:
    rng = np.random.default_rng(0)
    modes = np.array([near(AXES[0], 20, rng) for _ in range(4)] + [AXES[3]]).astype(np.float32)
    modes /= np.linalg.norm(modes, axis=1, keepdims=True)
    labels = np.repeat([[0, 1, 1, 2, 3]], 30, axis=0).astype(np.int32)
    index = rng.integers(0, 4, labels.shape)
    index[:, 3], index[:, 4] = 4, -1
    lines = segment_lines(labels, index, modes)
    points = modes[index[labels == 1]].astype(np.float64)
    expected = np.linalg.eigh(points.T @ points)[1][:, -1]
    assert abs(lines[0] @ expected) > 0.999
    assert abs(lines[1] @ AXES[3]) == pytest.approx(1)
    assert not lines[2].any()
    assert segment_lines(labels * 0, index, modes).shape == (0, 8)
    assert not segment_lines(labels, index * 0 - 1, modes[:0]).any()
