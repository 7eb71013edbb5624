"""Clustering of pixels: the compiled op beside plain torch, in one run.

    make bench

Scenes of noisy entities (up to 15 degrees from their line) with 5 % outlier pixels in random
directions, normalised, contiguous float32. Compared are

- `mean-shift`: plain torch, 100 seeds x 10 steps with the seeds x pixels table materialised, which
  finds modes but assigns nothing;
- `assign`: plain torch, one assignment of all pixels to the final modes;
- `highest` and `fast`: the compiled op, modes, assignment and labels;
- `regions`: 200 pieces of 800 pixels each, by the op and by plain torch.

Each round takes other features from a pool larger than the last-level cache, and every pixel that
is no outlier is checked to be in the segment of its entity before anything is timed.
"""

from __future__ import annotations

import math
from itertools import cycle
from typing import NamedTuple

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor
from torch.nn.functional import normalize

from bottomup_fast import ops, region_clustering

DIMENSIONS = 128
SCENES = [(384, 30), (384, 200), (768, 30), (1536, 30)]


class Scene(NamedTuple):
    features: Tensor  # (1, D, H, W)
    entities: Tensor  # (H, W), -1 for an outlier


def scene(side: int, count: int, seed: int) -> Scene:
    generator = torch.Generator().manual_seed(seed)
    lines = normalize(torch.randn(count, DIMENSIONS, generator=generator), dim=-1)
    centres = torch.rand(count, 2, generator=generator) * side
    rows = []
    for y in range(side):
        pixels = torch.stack([torch.full((side,), float(y)), torch.arange(side).float()], dim=-1)
        entities = torch.cdist(pixels, centres).argmin(-1)
        noise = normalize(torch.randn(side, DIMENSIONS, generator=generator), dim=-1)
        angle = torch.rand(side, 1, generator=generator) * math.radians(15)
        line = lines[entities]
        sideways = normalize(noise - (noise * line).sum(-1, keepdim=True) * line, dim=-1)
        outlier = torch.rand(side, generator=generator) < 0.05
        row = angle.cos() * line + angle.sin() * sideways
        rows.append((torch.where(outlier[:, None], noise, row), entities.where(~outlier, -1)))
    features, entities = (torch.stack(part) for part in zip(*rows, strict=True))
    return Scene(features.permute(2, 0, 1).contiguous()[None], entities)


@pytest.fixture(scope="module")
def pools() -> dict[tuple[int, int], list[Scene]]:
    return {}


def pool_of(pools: dict[tuple[int, int], list[Scene]], side: int, count: int) -> list[Scene]:
    if (side, count) not in pools:
        pools.clear()
        pools[side, count] = [scene(side, count, seed) for seed in range(4 if side < 768 else 2)]
    return pools[side, count]


def check(found: ops.Clusters, entities: Tensor, count: int) -> None:
    assert int(found.num_modes) == int(found.num_segments) == count
    inside = entities >= 0
    pairs = torch.stack([entities[inside], found.labels[0][inside].long()]).unique(dim=1)
    assert pairs.shape[1] == len(entities[inside].unique())


def plain_mean_shift(features: Tensor, modes: Tensor) -> Tensor:
    points = features[0].flatten(1).mT
    lines = points[:: len(points) // 100][:100].clone()
    for _ in range(10):
        similarity = lines @ points.mT
        inside = torch.where(similarity.abs() >= math.sqrt(0.5), similarity, 0)
        lines = normalize(inside @ points, dim=-1)
    return lines


def plain_assignment(features: Tensor, modes: Tensor) -> Tensor:
    return (features[0].flatten(1).mT @ modes.mT).abs().max(1).indices


def highest(features: Tensor, modes: Tensor) -> ops.Clusters:
    return ops.cluster(features, fast=False)


def fast(features: Tensor, modes: Tensor) -> ops.Clusters:
    return ops.cluster(features, fast=True)


METHODS = {
    "mean-shift": plain_mean_shift,
    "assign": plain_assignment,
    "highest": highest,
    "fast": fast,
}


@pytest.mark.parametrize(("side", "count"), SCENES)
@pytest.mark.parametrize("method", METHODS)
def test_cluster(
    benchmark: BenchmarkFixture,
    pools: dict[tuple[int, int], list[Scene]],
    side: int,
    count: int,
    method: str,
) -> None:
    benchmark.group = f"cluster {DIMENSIONS}x{side}x{side}, {count} entities"
    pool = pool_of(pools, side, count)
    for features, entities in pool:
        for implementation in (highest, fast):
            check(implementation(features, features), entities, count)
    modes = ops.cluster(pool[0].features).modes[0, :count]
    buffers = cycle(pool)
    benchmark.pedantic(
        METHODS[method],
        setup=lambda: ((next(buffers).features, modes), {}),
        rounds=3 if method == "mean-shift" else 12,
        warmup_rounds=1,
    )


def regions() -> tuple[Tensor, Tensor]:
    """Points of 200 regions with one to three entities, and the region of each."""
    generator = torch.Generator().manual_seed(0)
    points = []
    for region in range(200):
        count = 1 + region % 3
        lines = torch.linalg.qr(torch.randn(32, 32, generator=generator))[0][:count]
        entities = torch.randint(0, count, (800,), generator=generator)
        noise = 0.04 * torch.randn(800, 32, generator=generator)
        points.append(normalize(lines[entities] + noise, dim=-1))
    return torch.cat(points), torch.arange(200).repeat_interleave(800)


@pytest.mark.parametrize("method", ["torch", "op"])
def test_regions(benchmark: BenchmarkFixture, method: str) -> None:
    benchmark.group = "cluster 200 regions of 800 points"
    points, of_point = regions()
    order, sizes = of_point.argsort(stable=True), torch.bincount(of_point)
    in_torch = region_clustering._cluster_in_torch(points, order, sizes, 45.0, 10)
    by_op = region_clustering.cluster_regions(points, of_point, 45.0, 10)
    # Modes of equal support may come in another order.
    pairs = torch.stack([in_torch[0], by_op[0]]).unique(dim=1)
    assert pairs.shape[1] == len(in_torch[2]) == len(by_op[2])
    if method == "op":
        benchmark(region_clustering.cluster_regions, points, of_point, 45.0, 10)
    else:
        benchmark(region_clustering._cluster_in_torch, points, order, sizes, 45.0, 10)
