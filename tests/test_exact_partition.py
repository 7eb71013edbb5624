"""`cluster` finds the partition that starts from every pixel (equations.md, section 10)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from partition_cases import (
    adjusted_rand_index,
    blobs_or_noise,
    islands,
    lines_apart,
    mixed_borders,
    scatter,
)
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


@pytest.mark.parametrize("seed", range(50))
def test_seeded_modes_give_the_exact_partition(seed: int) -> None:
    features = blobs_or_noise(seed)
    exact = exact_partition(features)
    assert adjusted_rand_index(cluster(features.float()), exact) >= 0.99


@pytest.mark.parametrize("seed", range(3))
def test_boundary_pixels_that_are_mixtures(seed: int) -> None:
    features = mixed_borders(seed)
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
