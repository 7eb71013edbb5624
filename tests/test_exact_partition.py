"""`cluster` finds the partition that starts from every pixel (equations.md, section 10)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from bottomup_fast import cluster
from bottomup_fast.reference.clustering import (
    assign,
    exact_partition,
    mean_shift,
    merge_modes,
    number_by_appearance,
    window_support,
)
from bottomup_fast.reference.lines import normalise

Lines = NDArray[np.float64]
Labels = NDArray[np.int64]
APART_DEG = 70


def adjusted_rand_index(one: Tensor, other: Tensor) -> float:
    """Agreement of two labellings: 1 if equal but for names, 0 as by chance."""
    a, b = one.flatten().long(), other.flatten().long()
    table = torch.bincount(a * (int(b.max()) + 1) + b)
    both, first, second, every = (
        float((n.double() * (n - 1) / 2).sum())
        for n in (table, torch.bincount(a), torch.bincount(b), torch.tensor([len(a)]))
    )
    chance = first * second / every
    highest = (first + second) / 2
    return 1.0 if highest == chance else (both - chance) / (highest - chance)


def lines_apart(rng: np.random.Generator, count: int, dim: int) -> Lines:
    """Lines that are not quite orthogonal, every two at least 70 degrees apart."""
    lines = normalise(torch.from_numpy(rng.normal(size=(count, dim))), dim=-1)
    limit = math.cos(math.radians(APART_DEG))
    for _ in range(2000):
        overlap = (lines @ lines.mT).fill_diagonal_(0)
        if overlap.abs().max() <= limit:
            return lines.numpy()
        excess = overlap.sign() * (overlap.abs() - 0.97 * limit).clamp_min(0)
        lines = normalise(lines - 0.5 * excess @ lines, dim=-1)
    raise AssertionError("too many lines for the dimensions")


def blobs(rng: np.random.Generator, count: int, size: int) -> Labels:
    centres = rng.uniform(0, size, (count, 2))
    pixels = np.stack(np.mgrid[:size, :size], -1)[:, :, None]
    return np.square(pixels - centres).sum(-1).argmin(-1)


def islands(rng: np.random.Generator, size: int, small: int, area: tuple[int, int]) -> Labels:
    """Three huge entities with many small rectangles in them."""
    labels = np.zeros((size, size), np.int64)
    labels[:, size // 3 :] = 1
    labels[size // 2 :, size // 2 :] = 2
    cell = 2 * max(area) + 2
    across = size // cell
    for number, place in enumerate(rng.permutation(across * across)[:small].tolist()):
        y, x = (cell * place + int(rng.integers(0, cell // 2)) for place in divmod(place, across))
        labels[y : y + area[0], x : x + area[1]] = 3 + number
    return labels


def directions(rng: np.random.Generator, shape: tuple[int, ...]) -> Lines:
    vectors = rng.normal(size=shape)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def scatter(
    rng: np.random.Generator, centres: Lines, noise_deg: float, outliers: float = 0.0
) -> Tensor:
    """Pixels (H, W, D) turned from `centres` by up to `noise_deg`, some replaced, any length."""
    sideways = directions(rng, centres.shape)
    sideways -= (sideways * centres).sum(-1, keepdims=True) * centres
    sideways /= np.linalg.norm(sideways, axis=-1, keepdims=True)
    angle = np.radians(rng.uniform(0, noise_deg, (*centres.shape[:2], 1)))
    pixels = np.cos(angle) * centres + np.sin(angle) * sideways
    replaced = rng.random((*centres.shape[:2], 1)) < outliers
    pixels = np.where(replaced, directions(rng, centres.shape), pixels)
    pixels *= rng.choice([-1, 1], replaced.shape) * np.exp(rng.uniform(-2, 2, replaced.shape))
    return torch.from_numpy(pixels).permute(2, 0, 1)


@pytest.mark.parametrize("seed", range(50))
def test_seeded_modes_give_the_exact_partition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(2, 21))
    lines = lines_apart(rng, count, count + int(rng.integers(0, 5)))
    labels = blobs(rng, count, 48) if seed % 2 else rng.integers(0, count, (48, 48))
    noise = float(rng.uniform(5, 20))
    features = scatter(rng, lines[labels], noise, outliers=0.05 * (seed // 2 % 2))
    exact = exact_partition(features)
    assert adjusted_rand_index(cluster(features.float()), exact) >= 0.99


@pytest.mark.parametrize("seed", range(3))
def test_boundary_pixels_that_are_mixtures(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = 6
    lines = lines_apart(rng, count, 8)
    sharp = torch.from_numpy(lines[blobs(rng, count, 48)]).permute(2, 0, 1)
    mixed = functional.avg_pool2d(functional.pad(sharp, (2,) * 4, mode="replicate"), 5, 1)
    centres = normalise(mixed, dim=0).permute(1, 2, 0).numpy()
    features = scatter(rng, centres, 10)
    exact = exact_partition(features)
    assert adjusted_rand_index(cluster(features.float()), exact) >= 0.99


def modes_of_entities(features: Tensor, labels: Tensor, per_entity: int) -> Tensor:
    """The exact partition's modes, from pixels of every entity; enough where there is no outlier.

    Every pixel as a seed would take hours on a large map.
    """
    points = normalise(features.flatten(1).mT, dim=-1)
    flat = labels.flatten()
    entities = [flat == number for number in range(int(flat.max()) + 1)]
    seeds = torch.cat([points[entity.nonzero().squeeze(1)[:per_entity]] for entity in entities])
    modes = mean_shift(points, seeds, tolerance=1e-6)
    return merge_modes(modes, window_support(points, modes)).lines


@pytest.mark.parametrize(
    ("size", "small", "dim", "noise"),
    [
        (160, 40, 48, 15.0),
        pytest.param(256, 200, 128, 20.0, marks=pytest.mark.slow),
    ],
)
def test_entities_of_20_pixels_beside_huge_ones(
    size: int, small: int, dim: int, noise: float
) -> None:
    rng = np.random.default_rng(size)
    labels = torch.from_numpy(islands(rng, size, small, (4, 5)))
    lines = lines_apart(rng, small + 3, dim)
    features = scatter(rng, lines[labels.numpy()], noise).float()
    modes = modes_of_entities(features, labels, per_entity=20)
    assert len(modes) == small + 3
    points = normalise(features.flatten(1).mT, dim=-1)
    exact = number_by_appearance(assign(points, modes)[0]).view(size, size)
    found = cluster(features)
    assert int(found.max()) == small + 3
    assert adjusted_rand_index(found, exact) >= 0.9999


@pytest.mark.slow
def test_small_entities_whose_borders_are_mixtures_with_huge_ones() -> None:
    rng = np.random.default_rng(0)
    labels = torch.from_numpy(islands(rng, 192, 25, (7, 8)))
    lines = lines_apart(rng, 28, 32)
    sharp = torch.from_numpy(lines[labels.numpy()]).permute(2, 0, 1)
    mixed = functional.avg_pool2d(functional.pad(sharp, (1,) * 4, mode="replicate"), 3, 1)
    features = scatter(rng, normalise(mixed, dim=0).permute(1, 2, 0).numpy(), 10).float()
    modes = modes_of_entities(features, labels, per_entity=200)
    points = normalise(features.flatten(1).mT, dim=-1)
    exact = number_by_appearance(assign(points, modes)[0]).view(192, 192)
    assert adjusted_rand_index(cluster(features), exact) >= 0.99


@pytest.mark.slow
def test_small_entities_among_outliers() -> None:
    rng = np.random.default_rng(5)
    labels = islands(rng, 96, 12, (4, 5))
    features = scatter(rng, lines_apart(rng, 15, 24)[labels], 15, outliers=0.05)
    exact = exact_partition(features)
    found = cluster(features.float())
    assert int(found.max()) == int(exact.max()) == 15
    assert adjusted_rand_index(found, exact) >= 0.99
