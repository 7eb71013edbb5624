"""`cluster_cuda` against the exact partition, and every output against the modes in float64."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from devices import Device, MakeDevice, Schedule
from meanshift_ops import (
    STATUS,
    TYPES,
    Array,
    Clusters,
    cluster,
    in_memory,
    normalise,
    rounded,
)
from partition_cases import adjusted_rand_index

from bottomup_fast.reference.clustering import exact_partition

FAMILY = "meanshift"

Cluster = Callable[..., Clusters]


def scene(
    seed: int,
    pixels: int,
    dimensions: int = 16,
    count: int = 5,
    outliers: float = 0.0,
    batch: int = 1,
    noise: float = 0.3,
) -> tuple[Array, Array]:
    """Features (B, D, N) near orthogonal lines in short runs of pixels, and their groups (B, N)."""
    rng = np.random.default_rng(seed)
    lines = np.linalg.qr(rng.normal(size=(dimensions, dimensions)))[0][:count]
    group = rng.integers(0, count, (batch, pixels // 4 + 1)).repeat(4, 1)[:, :pixels]
    stray = rng.normal(size=(batch, pixels, dimensions))
    features = lines[group] + noise / math.sqrt(dimensions) * stray
    replaced = rng.random((batch, pixels)) < outliers
    features = np.where(replaced[..., None], stray, features)
    features *= rng.choice([-1, 1], (batch, pixels, 1))
    return features.transpose(0, 2, 1), np.where(replaced, -1, group)


def same(one: Clusters, other: Clusters) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def numbered(index: Array) -> Array:
    """Positions of modes as numbers from 1 in order of first appearance, 0 for negative ones."""
    numbers: dict[int, int] = {}
    return np.array(
        [0 if i < 0 else numbers.setdefault(i, len(numbers) + 1) for i in index.tolist()]
    )


def check_fields(
    features: Array, found: Clusters, mask: Array | None = None, half: bool = False
) -> None:
    """Every field is what the modes make it."""
    assert found.status == STATUS["ok"]
    window = math.cos(math.radians(45))
    close = 3e-3 if half else 3e-6
    for image, points in enumerate(normalise(features, 1).transpose(0, 2, 1)):
        count = int(found.num_modes[image])
        labels, score = found.labels[image], found.score[image]
        lines, support = found.modes[image].astype(np.float64), found.support[image]
        inside = np.ones(len(labels), bool) if mask is None else mask[image]
        assert not lines[count:].any()
        assert not support[count:].any()
        assert not labels[~inside].any()
        assert not score[~inside].any()
        assert labels.max() == found.num_segments[image]
        if count == 0:
            assert (labels[inside] == 1).all()
            assert not score.any()
            continue
        lines, support = lines[:count], support[:count]
        np.testing.assert_allclose(np.linalg.norm(lines, axis=1), 1, atol=1e-6)
        assert (np.take_along_axis(lines, np.abs(lines).argmax(1)[:, None], 1) > 0).all()
        cosines = np.abs(points @ lines.T)
        np.testing.assert_allclose(score[inside], cosines.max(1)[inside], atol=close)
        nearest = np.where(inside, cosines.argmax(1), -1)
        assert (labels == numbered(nearest)).mean() >= 0.99
        sure = (
            (cosines >= window + close)[inside].sum(0),
            (cosines >= window - close)[inside].sum(0),
        )
        assert (sure[0] <= support).all()
        assert (support <= sure[1]).all()
        assert (support[:-1] >= support[1:]).all()


def check_small(device: Device, batch: int, dimensions: int, pixels: int, fast: bool) -> None:
    features, _ = scene(0, pixels, dimensions, 3, batch=batch)
    found = cluster(device, in_memory(features), rounds=1, max_modes=4, min_support=3, fast=fast)
    check_fields(features.astype(np.float32), found, half=fast)
    assert found.num_modes.tolist() == [3 if pixels > 1 else 0] * batch


@pytest.mark.small
@pytest.mark.parametrize("fast", [False, True])
def test_a_small_image(device: Device, fast: bool) -> None:
    check_small(device, 1, 17, 24, fast)


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize(("batch", "dimensions", "pixels"), [(1, 3, 1), (2, 17, 140), (3, 16, 64)])
def test_sizes(device: Device, batch: int, dimensions: int, pixels: int, fast: bool) -> None:
    check_small(device, batch, dimensions, pixels, fast)


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize(
    ("dimensions", "pixels", "count"), [(1, 127, 1), (9, 128, 5), (33, 129, 20), (129, 300, 6)]
)
def test_the_exact_partition(
    device: Device, dimensions: int, pixels: int, count: int, fast: bool
) -> None:
    features, _ = scene(1, pixels, dimensions, count)
    found = cluster(device, in_memory(features), fast=fast, min_support=2, max_modes=32)
    check_fields(features.astype(np.float32), found, half=fast)
    exact = exact_partition(torch.from_numpy(features[0])[:, None], min_support=2)
    np.testing.assert_array_equal(found.labels[0], exact[0].numpy())


@pytest.fixture
def run(make_device: MakeDevice) -> Cluster:
    """`cluster` on one device only: its kernels are the same on all, and these problems larger."""
    device = make_device(FAMILY, "host", Schedule(80, "reverse", "eager"))
    return lambda *arguments, **settings: cluster(device, *arguments, **settings)


def lines_apart(rng: np.random.Generator, count: int, dimensions: int) -> Array:
    """Lines that are not orthogonal, every two at least 70 degrees apart."""
    lines = normalise(rng.normal(size=(count, dimensions)))
    limit = math.cos(math.radians(70))
    for _ in range(2000):
        overlap = lines @ lines.T
        np.fill_diagonal(overlap, 0)
        if np.abs(overlap).max() <= limit:
            return lines
        excess = np.sign(overlap) * np.maximum(np.abs(overlap) - 0.97 * limit, 0)
        lines = normalise(lines - 0.5 * excess @ lines)
    raise AssertionError("too many lines for the dimensions")


def scattered(rng: np.random.Generator, centres: Array, noise_deg: float, outliers: float) -> Array:
    """Features (1, D, N) turned from `centres` (N, D) by up to `noise_deg`, some replaced."""
    sideways = normalise(rng.normal(size=centres.shape))
    sideways = normalise(sideways - (sideways * centres).sum(-1, keepdims=True) * centres)
    angle = np.radians(rng.uniform(0, noise_deg, (len(centres), 1)))
    points = np.cos(angle) * centres + np.sin(angle) * sideways
    replaced = rng.random((len(centres), 1)) < outliers
    points = np.where(replaced, normalise(rng.normal(size=centres.shape)), points)
    return (points * rng.choice([-1, 1], replaced.shape)).T[None]


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize(
    ("seed", "count", "dimensions", "noise", "outliers"),
    [(0, 12, 13, 20, 0), (1, 2, 5, 15, 0.05), (2, 3, 3, 18, 0.05), (3, 10, 12, 20, 0.05)],
)
def test_hard_cases(
    run: Cluster,
    seed: int,
    count: int,
    dimensions: int,
    noise: float,
    outliers: float,
    fast: bool,
) -> None:
    rng = np.random.default_rng(seed)
    lines = lines_apart(rng, count, dimensions)
    features = scattered(rng, lines[rng.integers(0, count, 40 * 40)], noise, outliers)
    exact = exact_partition(torch.from_numpy(features[0])[:, None])[0].numpy()
    found = run(in_memory(features), fast=fast)
    assert adjusted_rand_index(found.labels[0], exact) >= 0.99


def test_few_pixels_beside_large_groups_and_outliers(run: Cluster) -> None:
    """Fewer than one in a hundred, so that the sample of the first round has few of them."""
    features, truth = scene(2, 6000, 32, 3, outliers=0.05)
    small = normalise(np.random.default_rng(3).normal(size=32))
    features[0, :, 3000:3020], truth[0, 3000:3020] = small[:, None], 3
    found = run(in_memory(features), fast=True, max_modes=16)
    assert found.num_modes[0] == 4
    inside = truth[0] >= 0
    assert adjusted_rand_index(found.labels[0][inside], truth[0][inside]) == 1


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("layout", ["pixels", "channels"])
def test_types_and_layouts(run: Cluster, kind: str, layout: str) -> None:
    features, _ = scene(3, 136, outliers=0.05)
    found = run(in_memory(features, kind, layout), min_support=4)
    check_fields(rounded(features, kind).astype(np.float32), found)
    assert same(found, run(in_memory(rounded(features, kind)), min_support=4))


@pytest.mark.parametrize("fast", [False, True])
def test_a_mask_leaves_pixels_out(run: Cluster, fast: bool) -> None:
    features, _ = scene(4, 133, batch=2, outliers=0.05)
    mask = np.random.default_rng(0).random((2, 133)) < 0.6
    mask[1, :70] = False
    found = run(in_memory(features), mask, min_support=4, fast=fast, max_modes=20)
    check_fields(features.astype(np.float32), found, mask, half=fast)
    other = np.where(mask[:, None], features, 3.0)
    assert same(found, run(in_memory(other), mask, min_support=4, fast=fast, max_modes=20))
    nothing = run(in_memory(features), 0 * mask, max_modes=20)
    assert not nothing.labels.any()
    assert not nothing.num_modes.any()
    assert not nothing.num_segments.any()


@pytest.mark.parametrize("fast", [False, True])
def test_a_batch_is_a_loop_over_its_images(run: Cluster, fast: bool) -> None:
    features, _ = scene(5, 90, batch=3, outliers=0.1)
    together = run(in_memory(features), min_support=3, fast=fast, max_modes=24)
    for image in range(3):
        alone = run(in_memory(features[image : image + 1]), min_support=3, fast=fast, max_modes=24)
        part = Clusters(*(field[image : image + 1] for field in together[:-1]), together.status)
        assert same(alone, part)


@pytest.mark.parametrize("fast", [False, True])
def test_signs_and_schedules_change_nothing(make_device: MakeDevice, fast: bool) -> None:
    features, _ = scene(6, 140, outliers=0.05)
    signs = np.random.default_rng(0).choice([-1, 1], (1, 1, 140))
    found = [
        cluster(make_device(FAMILY, "host", schedule), in_memory(turned), fast=fast, min_support=3)
        for turned, schedule in [
            (features, Schedule(80)),
            (signs * features, Schedule(86, "random", "eager", seed=9)),
            (2.0**20 * features, Schedule(90, "reverse")),
        ]
    ]
    assert found[0].num_modes[0] == 5
    assert same(found[0], found[1])
    assert same(found[0], found[2])


def test_modes_beyond_the_limit_are_left_out(run: Cluster) -> None:
    features, _ = scene(7, 140, 8, 6)
    every, three = (run(in_memory(features), max_modes=modes) for modes in (1500, 3))
    assert every.num_modes[0] == 6
    assert three.num_modes[0] == three.num_segments[0] == 3
    np.testing.assert_array_equal(three.support, every.support[:, :3])
    np.testing.assert_array_equal(three.modes, every.modes[:, :3])
    check_fields(features.astype(np.float32), three)
    assert run(in_memory(features), rounds=1).num_segments[0] == 6
    assert run(in_memory(features), min_support=141).num_modes[0] == 0


def test_zero_features_belong_to_the_best_supported_mode(run: Cluster) -> None:
    features, _ = scene(8, 200)
    features[..., 50:90] = 0
    features[..., 90:95] = 1e-9
    found = run(in_memory(features), max_modes=8)
    first = np.abs(found.modes[0, 0] @ features[0]).argmax()
    assert (found.labels[0, 50:90] == found.labels[0, first]).all()
    assert not found.score[0, 50:90].any()
    check_fields(
        np.delete(features, np.r_[50:90], 2).astype(np.float32),
        Clusters(
            np.delete(found.labels, np.r_[50:90], 1),
            found.num_segments,
            np.delete(found.score, np.r_[50:90], 1),
            *found[3:],
        ),
    )
    nothing = run(in_memory(0 * features))
    assert (nothing.labels == 1).all()
    assert nothing.num_segments[0] == 1


@pytest.mark.parametrize("bandwidth", [0.5, 5.0, 20.0])
def test_narrow_windows(run: Cluster, bandwidth: float) -> None:
    features, truth = scene(9, 200, noise=0.01 * bandwidth / 5)
    found = run(in_memory(features), bandwidth=bandwidth, fast=True, max_modes=8)
    assert found.num_modes[0] == 5
    assert adjusted_rand_index(found.labels[0], truth[0]) == 1


@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 3, 0)])
def test_nothing_to_cluster(run: Cluster, shape: tuple[int, int, int]) -> None:
    found = run(in_memory(np.zeros(shape)), max_modes=5)
    assert found.status == STATUS["ok"]
    for field in (found.num_segments, found.num_modes, found.modes, found.support):
        assert not field.any()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("fast", [False, True])
def test_bad_features_are_told(run: Cluster, bad: float, fast: bool) -> None:
    features, _ = scene(10, 70, batch=2)
    features[1, 15, 69] = bad
    mask = np.ones((2, 70), bool)
    mask[1, 69] = False
    assert run(in_memory(features), fast=fast).status == STATUS["features"]
    assert run(in_memory(features), mask, fast=fast).status == STATUS["features"]
