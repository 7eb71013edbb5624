"""`mean_shift_cuda`, and the step of seeds that `cluster_cuda` shares, against float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
from devices import Device, MakeDevice, Schedule
from meanshift_ops import (
    LAYOUTS,
    STATUS,
    TYPES,
    Array,
    in_memory,
    mean_shift,
    normalise,
    room,
    rounded,
)

FAMILY = "meanshift"
WINDOW = math.cos(math.radians(45))


def groups(batch: int, dimensions: int, pixels: int, seed: int = 0) -> Array:
    """Features (B, D, N) near few orthogonal lines, none at the edge of another one's window."""
    rng = np.random.default_rng(seed)
    lines = np.linalg.qr(rng.normal(size=(dimensions, dimensions)))[0]
    group = rng.integers(0, min(dimensions, 5), (batch, pixels))
    noise = 0.15 / math.sqrt(dimensions) * rng.normal(size=(batch, pixels, dimensions))
    features = (lines[group] + noise) * rng.choice([-1, 1], (batch, pixels, 1))
    return (features * np.exp(rng.normal(size=(batch, pixels, 1)))).transpose(0, 2, 1)


def canonical(lines: Array) -> Array:
    largest = np.take_along_axis(lines, np.abs(lines).argmax(-1)[..., None], -1)
    return np.where(largest < 0, -lines, lines)


def step_of(points: Array, lines: Array, window: float = WINDOW) -> tuple[Array, Array]:
    """Where lines (B, S, D) move by one step on points (B, N, D), and the support before it."""
    cosines = lines @ points.transpose(0, 2, 1)
    inside = np.abs(cosines) >= window
    moved = normalise(np.where(inside, cosines, 0) @ points)
    return np.where(inside.any(-1, keepdims=True), moved, lines), inside.sum(-1)


def climbed(points: Array, seeds: Array, tolerance: float, max_steps: int) -> tuple[Array, Array]:
    lines, resting = seeds, np.zeros(seeds.shape[:2], bool)
    for _ in range(max_steps):
        moved = np.where(resting[..., None], lines, step_of(points, lines)[0])
        resting |= np.linalg.norm(moved - lines, axis=-1) <= tolerance
        lines = moved
    return canonical(lines), step_of(points, lines)[1]


def check_climb(device: Device, batch: int, dimensions: int, pixels: int, seeds: int) -> None:
    points = groups(batch, dimensions, pixels)
    starts = np.resize(points.transpose(0, 2, 1), (batch, seeds, dimensions)).transpose(0, 2, 1)
    found = mean_shift(device, in_memory(points), in_memory(starts), max_steps=3)
    lines = (normalise(rounded(features, "float32"), 1) for features in (points, starts))
    modes, support = climbed(*(each.transpose(0, 2, 1) for each in lines), 1e-6, 3)
    assert found.status == STATUS["ok"]
    np.testing.assert_allclose(found.modes, modes, atol=2e-6)
    np.testing.assert_array_equal(found.support, support)


@pytest.mark.small
def test_a_small_problem(device: Device) -> None:
    check_climb(device, 2, 17, 33, 3)


@pytest.mark.parametrize(
    ("batch", "dimensions", "pixels", "seeds"),
    [
        *[(1, 1, 1, 1), (2, 5, 40, 65), (1, 3, 128, 64)],
        *[(1, 64, 129, 5), (1, 130, 160, 9), (1, 128, 31, 130)],
    ],
)
def test_sizes(device: Device, batch: int, dimensions: int, pixels: int, seeds: int) -> None:
    check_climb(device, batch, dimensions, pixels, seeds)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_types_and_layouts(device: Device, kind: str, layout: str) -> None:
    points = groups(1, 21, 70)
    plain = in_memory(rounded(points, kind)), in_memory(rounded(points[..., :8], kind))
    stored = in_memory(points, kind, layout), in_memory(points[..., :8], kind, layout)
    expected, found = (mean_shift(device, *pair, max_steps=2) for pair in (plain, stored))
    np.testing.assert_array_equal(found.modes, expected.modes)
    np.testing.assert_array_equal(found.support, expected.support)


def test_other_seeds_images_and_schedules_change_no_bit(make_device: MakeDevice) -> None:
    points = groups(3, 20, 150)
    seeds = points[..., ::2]
    device = make_device(FAMILY, "host", Schedule(80))
    other = make_device(FAMILY, "host", Schedule(90, "random", seed=7))
    every = mean_shift(device, in_memory(points), in_memory(seeds), max_steps=3)
    again = mean_shift(other, in_memory(-points), in_memory(seeds), max_steps=3)
    np.testing.assert_array_equal(every.modes, again.modes)
    np.testing.assert_array_equal(every.support, again.support)
    some = in_memory(points[1:2]), in_memory(seeds[1:2, :, 70:73])
    alone = mean_shift(device, *some, max_steps=3)
    np.testing.assert_array_equal(every.modes[1:2, 70:73], alone.modes)
    np.testing.assert_array_equal(every.support[1:2, 70:73], alone.support)


def test_zero_seeds_and_empty_windows_stay(device: Device) -> None:
    points = np.zeros((1, 3, 5))
    points[0, 0, :3] = (1, -2, 1e-9)
    seeds = np.zeros((1, 3, 3))
    seeds[0, :2, 1] = (0.1, -1)
    seeds[0, 0, 2] = -1
    found = mean_shift(device, in_memory(points), in_memory(seeds))
    np.testing.assert_allclose(found.modes[0, 0], 0)
    np.testing.assert_allclose(found.modes[0, 1], normalise(np.array([-0.1, 1, 0])), atol=1e-6)
    np.testing.assert_allclose(found.modes[0, 2], [1, 0, 0])
    np.testing.assert_array_equal(found.support, [[0, 0, 2]])


@pytest.mark.parametrize(("batch", "pixels", "seeds"), [(0, 4, 4), (1, 0, 2), (1, 4, 0), (1, 0, 0)])
def test_empty_problems(device: Device, batch: int, pixels: int, seeds: int) -> None:
    points, starts = np.ones((batch, 3, pixels)), np.ones((batch, 3, seeds))
    found = mean_shift(device, in_memory(points), in_memory(starts), max_steps=2)
    assert found.status == STATUS["ok"]
    np.testing.assert_allclose(found.modes, np.full((batch, seeds, 3), 1 / math.sqrt(3)), atol=1e-6)
    np.testing.assert_array_equal(found.support, np.full((batch, seeds), pixels))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_bad_input_is_told(device: Device, bad: float) -> None:
    points = groups(1, 3, 40)
    broken = points.copy()
    broken[0, 2, 39] = bad
    assert mean_shift(device, in_memory(broken), in_memory(points), max_steps=1).status == 5
    assert mean_shift(device, in_memory(points), in_memory(broken), max_steps=1).status == 6


def step(
    device: Device, features: Array, lines: Array, resting: Array, half: bool, parts: int = 0
) -> tuple[Array, Array, Array]:
    """One step of lines (B, S, D), of which some rest: lines, support before it, and who rests."""
    batch, count, dimensions = lines.shape
    stored = in_memory(features, "float16" if half else "float32")
    padded = next(
        (size for size in (16, 32, 64) if dimensions <= size), -(-dimensions // 128) * 128
    )
    rows, first = count + 3, 2
    table = np.zeros((batch, rows, padded), np.float32)
    table[:, first : first + count, :dimensions] = lines
    flags, rests = (np.full((batch, rows), value, np.int32) for value in (1, -1))
    flags[:, first : first + count] = resting
    support, status = np.zeros((batch, rows), np.int32), np.zeros(1, np.int32)
    size = device.size("meanshift_step_workspace", stored.sizes, int(half), count, parts)
    device.run(
        "meanshift_step",
        *(stored.memory, stored.sizes, int(half), table, support, rows, first, count, flags),
        *(WINDOW, 1e-3, parts, rests, room(size), status),
    )
    inside = slice(first, first + count)
    assert not table[:, inside, dimensions:].any()
    assert not np.delete(table, np.r_[inside], axis=1).any()
    return table[:, inside, :dimensions], support[:, inside], rests[:, inside]


def check_step(device: Device, dimensions: int, pixels: int, count: int, half: bool) -> None:
    features = groups(2, dimensions, pixels)
    points = normalise(features, 1).transpose(0, 2, 1)
    lines = np.resize(points, (2, count, dimensions)).astype(np.float32)
    resting = np.random.default_rng(2).random((2, count)) < 0.3
    resting[:, -1] = False
    moved, support, rests = step(device, features, lines, resting, half)
    expected, expected_support = step_of(points, lines)
    expected = np.where(resting[..., None], lines, expected)
    np.testing.assert_allclose(moved, expected, atol=2e-3 if half else 2e-6)
    np.testing.assert_array_equal(support, np.where(resting, 0, expected_support))
    distance = np.linalg.norm(expected - lines, axis=-1)
    sure = np.abs(distance - 1e-3) > (1e-3 if half else 1e-5)
    np.testing.assert_array_equal(rests[sure], (resting | (distance <= 1e-3))[sure])


SMALL_STEPS = [(17, 129, 33), (200, 130, 9)]
STEPS = [(1, 1, 1), (16, 128, 64), (40, 300, 65), (128, 257, 100), (129, 70, 31)]


@pytest.mark.small
@pytest.mark.parametrize(("dimensions", "pixels", "count"), SMALL_STEPS)
def test_a_small_step(device: Device, dimensions: int, pixels: int, count: int) -> None:
    check_step(device, dimensions, pixels, count, half=False)


@pytest.mark.small
@pytest.mark.capability(80)
@pytest.mark.parametrize(("dimensions", "pixels", "count"), SMALL_STEPS)
def test_a_small_step_in_float16(device: Device, dimensions: int, pixels: int, count: int) -> None:
    check_step(device, dimensions, pixels, count, half=True)


@pytest.mark.parametrize(("dimensions", "pixels", "count"), STEPS)
def test_a_step(device: Device, dimensions: int, pixels: int, count: int) -> None:
    check_step(device, dimensions, pixels, count, half=False)


@pytest.mark.capability(80)
@pytest.mark.parametrize(("dimensions", "pixels", "count"), STEPS)
def test_a_step_in_float16(device: Device, dimensions: int, pixels: int, count: int) -> None:
    check_step(device, dimensions, pixels, count, half=True)


@pytest.mark.parametrize("half", [False, True])
def test_a_step_of_more_lines_than_a_tile_holds(make_device: MakeDevice, half: bool) -> None:
    features = groups(1, 16, 300)
    points = normalise(features, 1).transpose(0, 2, 1)
    lines = np.resize(points, (1, 300, 16)).astype(np.float32)
    resting = np.zeros((1, 300), bool)
    device = make_device(FAMILY, "host", Schedule(80, "reverse", "eager"))
    for parts in (0, 1, 3):
        moved, support, _ = step(device, features, lines, resting, half, parts)
        expected, expected_support = step_of(points, lines)
        np.testing.assert_allclose(moved, expected, atol=2e-3 if half else 2e-6)
        np.testing.assert_array_equal(support, expected_support)
