"""Assignment of pixels to modes: the compiled op beside plain torch, in one run.

    make bench

Each round takes other features from a pool larger than the last-level cache, and the results are
compared before anything is timed.
"""

from __future__ import annotations

from itertools import cycle

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from bottomup_fast import ops

DIMENSIONS, SIDE, POOL = 128, 384, 24


@pytest.fixture(scope="module")
def pool() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(1, DIMENSIONS, SIDE, SIDE, generator=generator) for _ in range(POOL)]


def plain_torch(features: Tensor, modes: Tensor) -> tuple[Tensor, Tensor]:
    points = torch.nn.functional.normalize(features.flatten(2).mT, dim=-1)
    score, index = (points @ modes.mT).abs().max(-1)
    return index.view(1, SIDE, SIDE), score.view(1, SIDE, SIDE)


@pytest.mark.parametrize("count", [10, 30, 200])
@pytest.mark.parametrize("implementation", [plain_torch, ops.assign], ids=["torch", "fused"])
def test_assign(
    benchmark: BenchmarkFixture, pool: list[Tensor], count: int, implementation: object
) -> None:
    benchmark.group = f"assign {DIMENSIONS}x{SIDE}x{SIDE} to {count} modes"
    modes = torch.nn.functional.normalize(torch.randn(1, count, DIMENSIONS), dim=-1)
    index, score = ops.assign(pool[0], modes)
    expected_index, expected_score = plain_torch(pool[0], modes)
    assert (index == expected_index).float().mean() > 0.9999
    torch.testing.assert_close(score, expected_score, atol=1e-5, rtol=0)
    buffers = cycle(pool)
    benchmark.pedantic(
        implementation, setup=lambda: ((next(buffers), modes), {}), rounds=10, warmup_rounds=2
    )
