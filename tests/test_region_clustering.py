from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from bottomup_fast import region_clustering
from bottomup_fast.reference.clustering import exact_partition
from bottomup_fast.reference.lines import normalise
from bottomup_fast.region_clustering import cluster_regions


def groups(rng: np.random.Generator, sizes: list[int], dim: int = 8) -> Tensor:
    """Noisy lines around orthogonal ones, `sizes` of each, shuffled, with random signs."""
    frame = np.linalg.qr(rng.normal(size=(dim, dim)))[0][: len(sizes)]
    centres = rng.permutation(frame.repeat(sizes, 0))
    points = centres + 0.1 * rng.normal(size=centres.shape)
    points *= rng.choice([-1, 1], (len(points), 1))
    return normalise(torch.from_numpy(points).float(), dim=-1)


def scattered(rng: np.random.Generator, parts: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Points of all regions in random order, and their regions."""
    order = torch.from_numpy(rng.permutation(sum(map(len, parts))))
    regions = torch.repeat_interleave(torch.tensor([len(part) for part in parts]))
    return torch.cat(parts)[order], regions[order]


def exact(points: Tensor, min_support: int = 10) -> list[int]:
    return exact_partition(points.mT[:, None], 45.0, min_support)[0].tolist()


def appearance(values: Tensor) -> list[int]:
    order = list(dict.fromkeys(values.tolist()))
    return [order.index(value) + 1 for value in values.tolist()]


@pytest.mark.parametrize("seed", range(6))
def test_each_region_has_the_exact_partition_of_its_own_points(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = [[300, 40, 15], [25, 25, 25, 25, 25, 25, 25], [12], [200, 9], [400] * 6, [3, 30]]
    points, regions = scattered(rng, [groups(rng, size) for size in sizes])
    index, cosine, modes = cluster_regions(points, regions, 45.0, 10)
    assert index.dtype == torch.int32
    for region in range(len(sizes)):
        own = regions == region
        assert appearance(index[own]) == exact(points[own])
    torch.testing.assert_close(cosine, (points * modes[index.long()]).sum(1).abs())


def test_a_region_does_not_depend_on_the_others() -> None:
    rng = np.random.default_rng(0)
    parts = [groups(rng, sizes) for sizes in ([50, 20], [70], [13, 13, 40], [5])]
    points, regions = scattered(rng, parts)
    index, _, _ = cluster_regions(points, regions, 45.0, 10)
    for region in range(len(parts)):
        own = regions == region
        alone, _, _ = cluster_regions(points[own], torch.zeros(int(own.sum())).long(), 45.0, 10)
        assert appearance(index[own]) == appearance(alone)


def test_modes_come_region_by_region_the_best_supported_first() -> None:
    rng = np.random.default_rng(1)
    sizes = [[20, 60, 35], [11], [30, 90], [4]]
    points, regions = scattered(rng, [groups(rng, size) for size in sizes])
    index, _, modes = cluster_regions(points, regions, 45.0, 10)
    assert len(modes) == 7
    counts = torch.bincount(index, minlength=7).tolist()
    assert counts == [60, 35, 20, 11, 90, 30, 4]
    owners = [sorted({int(r) for r in regions[index == mode]}) for mode in range(7)]
    assert owners == [[0], [0], [0], [1], [2], [2], [3]]


def test_regions_without_modes_are_one_cluster_with_a_zero_line() -> None:
    rng = np.random.default_rng(2)
    parts = [groups(rng, [4, 5]), torch.zeros(30, 8), groups(rng, [20]), groups(rng, [1])]
    points, regions = scattered(rng, parts)
    index, cosine, modes = cluster_regions(points, regions, 45.0, 10)
    assert torch.equal(index.long(), regions)
    assert (modes[[0, 1, 3]] == 0).all()
    assert (cosine[regions != 2] == 0).all()
    assert (cosine[regions == 2] > 0.8).all()


def test_points_without_a_line_go_to_the_first_mode_of_their_region() -> None:
    rng = np.random.default_rng(3)
    part = torch.cat([torch.zeros(15, 8), groups(rng, [20, 50])])
    index, _, _ = cluster_regions(part, torch.zeros(85).long(), 45.0, 10)
    assert (index[:15] == 0).all()
    assert torch.bincount(index).tolist() == [65, 20]


def test_single_points() -> None:
    points = torch.eye(5)
    index, cosine, modes = cluster_regions(points, torch.arange(5), 45.0, 1)
    assert index.tolist() == [0, 1, 2, 3, 4]
    torch.testing.assert_close(cosine, torch.ones(5))
    torch.testing.assert_close(modes.abs(), points)
    index, cosine, modes = cluster_regions(points, torch.arange(5), 45.0, 2)
    assert index.tolist() == [0, 1, 2, 3, 4]
    assert not cosine.any()
    assert not modes.any()


def test_cosines_do_not_exceed_one() -> None:
    for seed in range(50):
        point = normalise(torch.randn(1, 8, generator=torch.Generator().manual_seed(seed)), dim=-1)
        _, cosine, _ = cluster_regions(point.repeat(50, 1), torch.zeros(50).long(), 45.0, 10)
        assert cosine.max() <= 1


def test_nothing() -> None:
    index, cosine, modes = cluster_regions(torch.zeros(0, 4), torch.zeros(0).long(), 45.0, 10)
    assert (index.shape, cosine.shape, modes.shape) == ((0,), (0,), (0, 4))


def test_many_regions_in_several_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(region_clustering, "_BATCH_POINTS", 500)
    rng = np.random.default_rng(4)
    sizes = [rng.integers(11, 40, int(rng.integers(1, 4))).tolist() for _ in range(300)]
    points, regions = scattered(rng, [groups(rng, size) for size in sizes])
    index, _, modes = cluster_regions(points, regions, 45.0, 10)
    expected = [size for region in sizes for size in sorted(region, reverse=True)]
    assert len(modes) == len(expected)
    assert torch.bincount(index).tolist() == expected


def test_the_bandwidth_separates() -> None:
    angle = torch.deg2rad(torch.tensor([0.0, 40.0])).repeat_interleave(20)
    points = torch.stack([angle.cos(), angle.sin()], dim=1)
    regions = torch.zeros(40).long()
    assert len(cluster_regions(points, regions, 45.0, 10)[2]) == 1
    assert len(cluster_regions(points, regions, 20.0, 10)[2]) == 2
