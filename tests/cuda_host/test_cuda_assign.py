"""`assign_cuda` against float64."""

from __future__ import annotations

import numpy as np
import pytest
from devices import Device, MakeDevice, Schedule
from meanshift_ops import (
    LAYOUTS,
    STATUS,
    TYPES,
    Array,
    assign,
    in_memory,
    normalise,
    rounded,
)

FAMILY = "meanshift"


def problem(
    batch: int, dimensions: int, pixels: int, modes: int, seed: int = 0
) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(batch, dimensions, pixels)) * np.exp(rng.normal(size=pixels))
    lines = normalise(rng.normal(size=(batch, modes, dimensions))).astype(np.float32)
    return features, lines, np.full(batch, modes, np.int32)


def check(features: Array, lines: Array, num_modes: Array, index: Array, score: Array) -> None:
    """The best mode, but for a near tie, and its |cos|."""
    cosines = np.abs(lines.astype(np.float64) @ normalise(features, axis=1))
    absent = np.arange(lines.shape[1])[:, None] >= num_modes[:, None, None]
    cosines = np.where(absent, -1, cosines)
    best = cosines.max(1)
    there = num_modes > 0
    np.testing.assert_allclose(score[there], best[there], atol=2e-6)
    chosen = np.take_along_axis(cosines, np.maximum(index, 0)[:, None].astype(np.int64), 1)[:, 0]
    np.testing.assert_allclose(chosen[there], best[there], atol=2e-6)
    assert (index[~there] == -1).all()
    assert not score[~there].any()


@pytest.mark.small
@pytest.mark.parametrize(
    ("batch", "dimensions", "pixels", "modes"),
    [(1, 1, 1, 1), (1, 16, 63, 31), (3, 17, 64, 32), (1, 5, 65, 33), (1, 129, 70, 40)],
)
def test_the_edges_of_tiles(
    device: Device, batch: int, dimensions: int, pixels: int, modes: int
) -> None:
    features, lines, num_modes = problem(batch, dimensions, pixels, modes)
    found = assign(device, in_memory(features), lines, num_modes)
    assert found.status == STATUS["ok"]
    check(features.astype(np.float32), lines, num_modes, found.index, found.score)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("dimensions", "pixels"), [(24, 136), (21, 67)])
def test_types_and_layouts(
    device: Device, kind: str, layout: str, dimensions: int, pixels: int
) -> None:
    features, lines, num_modes = problem(2, dimensions, pixels, 9)
    found = assign(device, in_memory(features, kind, layout), lines, num_modes)
    check(rounded(features, kind), lines, num_modes, found.index, found.score)
    plain = assign(device, in_memory(rounded(features, kind)), lines, num_modes)
    if kind != "float64":
        np.testing.assert_array_equal(found.index, plain.index)
        np.testing.assert_array_equal(found.score, plain.score)


@pytest.mark.parametrize("shape", [(0, 3, 5), (2, 3, 0), (0, 3, 0)])
def test_nothing_to_assign(device: Device, shape: tuple[int, ...]) -> None:
    modes = np.ones((shape[0], 2, 3))
    found = assign(device, in_memory(np.zeros(shape)), modes, np.full(shape[0], 2))
    assert found.index.shape == (shape[0], shape[2])
    assert found.status == STATUS["ok"]


def test_images_of_a_batch_have_modes_of_their_own(device: Device) -> None:
    features, lines, _ = problem(3, 8, 66, 34)
    num_modes = np.array([0, 34, 2], np.int32)
    found = assign(device, in_memory(features), lines, num_modes)
    check(features.astype(np.float32), lines, num_modes, found.index, found.score)
    for image in range(3):
        part = slice(image, image + 1)
        alone = assign(device, in_memory(features[part]), lines[part], num_modes[part])
        np.testing.assert_array_equal(alone.index[0], found.index[image])
        np.testing.assert_array_equal(alone.score[0], found.score[image])


def test_ties_and_zero_features_take_the_earliest_mode(device: Device) -> None:
    lines = np.zeros((1, 40, 3))
    lines[0, :, 1] = 1
    lines[0, 0, :] = (1, 0, 0)
    features = np.zeros((1, 3, 5))
    features[0, 1, 2:] = (-1, 2, -3e38)
    found = assign(device, in_memory(features), lines, np.array([40]))
    np.testing.assert_array_equal(found.index, [[0, 0, 1, 1, 1]])
    np.testing.assert_array_equal(found.score, [[0, 0, 1, 1, 1]])


def test_the_whole_range_of_float32(device: Device) -> None:
    features, lines, num_modes = problem(1, 130, 64, 7)
    expected = assign(device, in_memory(features), lines, num_modes)
    for scale in (2.0**120, 2.0**-10):
        found = assign(device, in_memory(scale * features), lines, num_modes)
        np.testing.assert_array_equal(found.index, expected.index)
        np.testing.assert_allclose(found.score, expected.score, rtol=1e-6)
    tiny = assign(device, in_memory(2.0**-40 * features), lines, num_modes)
    short = np.linalg.norm(2.0**-40 * features, axis=1) / 1e-6
    np.testing.assert_allclose(tiny.score, expected.score * short, rtol=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_bad_input_is_told(device: Device, bad: float) -> None:
    features, lines, num_modes = problem(2, 5, 67, 3)

    def status(features: Array, lines: Array, num_modes: Array) -> int:
        return assign(device, in_memory(features), lines, num_modes).status

    broken = features.copy()
    broken[1, 4, 66] = bad
    assert status(broken, lines, num_modes) == STATUS["features"]
    assert status(broken, lines, 0 * num_modes) == STATUS["features"]
    broken = lines.copy()
    broken[1, 2, 4] = bad
    assert status(features, broken, num_modes) == STATUS["modes"]
    assert status(features, broken, np.array([3, 2])) == STATUS["ok"]
    assert status(features, lines, np.array([3, 4])) == STATUS["num_modes"]
    assert status(features, lines, np.array([-1, 3])) == STATUS["num_modes"]
    assert status(features[:, :, :0], lines, np.array([-1, 3])) == STATUS["num_modes"]


def test_signs_and_schedules_change_nothing(make_device: MakeDevice) -> None:
    features, lines, num_modes = problem(2, 33, 150, 35)
    rng = np.random.default_rng(1)
    devices = [
        make_device(FAMILY, "host", Schedule(80)),
        make_device(FAMILY, "host", Schedule(75, "random", seed=5)),
    ]
    found = [assign(devices[0], in_memory(features), lines, num_modes)]
    turned = features * rng.choice([-1, 1], (2, 1, 150)), lines * rng.choice([-1, 1], (2, 35, 1))
    found.append(assign(devices[1], in_memory(turned[0]), turned[1], num_modes))
    np.testing.assert_array_equal(found[0].index, found[1].index)
    np.testing.assert_array_equal(found[0].score, found[1].score)
