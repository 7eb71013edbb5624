"""The losses' forward and backward pass: the compiled op beside what people use today, in one run.

    make bench

Peers: the same maths in plain torch (`backend="reference"`), `torch.compile` of that, and a copy of
the features, the least that reading and writing them can cost. Each round takes other features from
a pool larger than the last-level cache; the results are compared before anything is timed.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from bottomup_fast import BottomUpLoss

BATCH, DIMENSIONS, SIDE, ENTITIES, POOL = 2, 128, 384, 25, 11
GROUP = f"losses forward + backward, {BATCH}x{DIMENSIONS}x{SIDE}x{SIDE}, {ENTITIES} entities"


def scene() -> tuple[Tensor, Tensor]:
    """Noisy lines for 25 entities in a grid, background between them, ignored borders."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.zeros(BATCH, SIDE, SIDE, dtype=torch.int32)
    cell = SIDE // 5
    for entity in range(ENTITIES):
        y, x = entity // 5 * cell, entity % 5 * cell
        labels[:, y + 4 : y + cell - 4, x + 4 : x + cell - 4] = -1
        labels[:, y + 7 : y + cell - 7, x + 7 : x + cell - 7] = entity + 1
    lines = torch.randn(ENTITIES + 2, DIMENSIONS, generator=generator)
    features = torch.empty(BATCH, DIMENSIONS, SIDE, SIDE)
    for image, label in zip(features, labels, strict=True):
        torch.index_select(lines.T, 1, label.flatten() + 1, out=image.view(DIMENSIONS, -1))
    return features, labels


@pytest.fixture(scope="module")
def pool() -> tuple[list[Tensor], Tensor]:
    features, labels = scene()
    generator = torch.Generator().manual_seed(1)
    noisy = [features + torch.randn(features.shape, generator=generator) for _ in range(POOL)]
    return noisy, labels


def step(loss: Callable[..., object]) -> Callable[[Tensor, Tensor], Tensor]:
    def run(features: Tensor, labels: Tensor) -> Tensor:
        features = features.detach().requires_grad_()
        total = loss(features, labels).total  # type: ignore[attr-defined]
        return torch.autograd.grad(total, features)[0]

    return run


def implementations(contrast: float) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    def make(backend: str, precision: str = "highest") -> BottomUpLoss:
        return BottomUpLoss(
            contrast_weight=contrast,
            max_entities=ENTITIES,
            precision=precision,  # type: ignore[arg-type]
            backend=backend,  # type: ignore[arg-type]
        )

    torch.compiler.reset()
    return {
        "copy": lambda features, labels: features.clone(),
        "fused": step(make("auto")),
        "fused, fast": step(make("auto", "fast")),
        "torch": step(make("reference")),
        "torch.compile": step(torch.compile(make("reference"))),
    }


@pytest.mark.parametrize("name", ["copy", "fused", "fused, fast", "torch", "torch.compile"])
def test_without_contrast(
    benchmark: BenchmarkFixture, pool: tuple[list[Tensor], Tensor], name: str
) -> None:
    measure(benchmark, pool, name, 0.0)


@pytest.mark.parametrize("name", ["fused", "fused, fast", "torch"])
def test_with_contrast(
    benchmark: BenchmarkFixture, pool: tuple[list[Tensor], Tensor], name: str
) -> None:
    measure(benchmark, pool, name, 0.125)


def measure(
    benchmark: BenchmarkFixture, pool: tuple[list[Tensor], Tensor], name: str, contrast: float
) -> None:
    noisy, labels = pool
    benchmark.group = GROUP + (", with contrast" if contrast else "")
    run = implementations(contrast)[name]
    gradient = run(noisy[0], labels)
    if name != "copy":
        expected = step(BottomUpLoss(contrast_weight=contrast, max_entities=ENTITIES))(
            noisy[0], labels
        )
        # Signs of differences that are nearly zero may differ between computations.
        tolerance = 0.05 if name.endswith("fast") else 1e-3
        assert (gradient - expected).norm() <= tolerance * expected.norm()
    buffers = cycle(noisy[1:])
    slow = name.startswith("torch")
    benchmark.pedantic(
        run,
        setup=lambda: ((next(buffers), labels), {}),
        rounds=3 if slow else 15,
        warmup_rounds=1 if slow else 3,
    )


def peak_memory(with_loss: bool) -> int:
    """Bytes at most resident in a process that holds features and a gradient, or makes it."""
    code = f"""
import re, sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
from bench_losses import *
features, labels = scene()
small = features[:, :, :8, :8].contiguous(), labels[:, :8, :8].contiguous()
run = step(BottomUpLoss(contrast_weight=0.0, max_entities=ENTITIES))
run(*small)
if {with_loss}:
    features.requires_grad_()
    total = BottomUpLoss(contrast_weight=0.0, max_entities=ENTITIES)(features, labels).total
else:
    gradient = torch.ones_like(features)
print(int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(run.stdout)


def test_extra_memory(benchmark: BenchmarkFixture) -> None:
    features, _ = scene()
    extra = (peak_memory(True) - peak_memory(False)) / features.nbytes
    benchmark.group = "losses: memory beyond features and gradient, of the features' size"
    benchmark.extra_info["ratio"] = extra
    assert extra < 0.25
    benchmark.pedantic(lambda: None)
