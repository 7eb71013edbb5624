"""What the machine can do at best: the rates that every other figure is to be seen beside.

    make bench

`extra_info` holds gigabytes a second (read and written) and billions of multiply-adds a second.
"""

from __future__ import annotations

from itertools import cycle

import torch
from pytest_benchmark.fixture import BenchmarkFixture

POOL, NUMBERS, SIDE = 11, 2 * 128 * 384 * 384, 2048


def test_copy(benchmark: BenchmarkFixture) -> None:
    buffers = cycle([torch.ones(NUMBERS) for _ in range(POOL)])
    target = torch.empty(NUMBERS)
    benchmark.group = "the machine: copy of 151 MB"
    benchmark.pedantic(
        target.copy_, setup=lambda: ((next(buffers),), {}), rounds=20, warmup_rounds=3
    )
    benchmark.extra_info["GB/s"] = 2 * target.nbytes / benchmark.stats["median"] / 1e9


def test_matrix_product(benchmark: BenchmarkFixture) -> None:
    left, right = torch.randn(SIDE, SIDE), torch.randn(SIDE, SIDE)
    benchmark.group = f"the machine: float32 product of {SIDE}x{SIDE} matrices"
    benchmark.pedantic(torch.mm, args=(left, right), rounds=10, warmup_rounds=2)
    benchmark.extra_info["GMAC/s"] = SIDE**3 / benchmark.stats["median"] / 1e9
