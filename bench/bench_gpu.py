"""The ops on a GPU beside what people use today; needs one, and does nothing without.

    make bench

Times are of the device, between events, the inputs rotated among buffers larger than any cache.
Each result is compared with its peer's before it is timed. `graph` is a replay of a CUDA graph.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from itertools import cycle

import pytest
import torch
from bench_cluster import check, plain_assignment, plain_mean_shift, scene
from bench_losses import ENTITIES
from bench_losses import scene as loss_scene
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from bottomup_fast import BottomUpLoss, ops

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

POOL, ROUNDS = 8, 30
Work = Callable[[Tensor], object]


def seconds(work: Work, inputs: list[Tensor]) -> list[float]:
    """Device time of each of ROUNDS calls, after a few to warm up."""
    buffers = cycle(inputs)
    for _ in range(5):
        work(next(buffers))
    events = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(ROUNDS)]
    for start, end in events:
        start.record()  # type: ignore[no-untyped-call]
        work(next(buffers))
        end.record()  # type: ignore[no-untyped-call]
    torch.cuda.synchronize()
    return [start.elapsed_time(end) / 1e3 for start, end in events]  # type: ignore[no-untyped-call]


def as_graph(work: Work, example: Tensor) -> Work:
    """The same work on any input, replayed from a CUDA graph; the copy of the input counts."""
    static = example.clone()
    work(static)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work(static)

    def replay(features: Tensor) -> None:
        static.copy_(features)
        graph.replay()

    return replay


def record(benchmark: BenchmarkFixture, group: str, times: list[float]) -> None:
    benchmark.group = f"{group}, {torch.cuda.get_device_name()}"
    benchmark.extra_info["median_s"] = statistics.median(times)
    benchmark.extra_info["spread_s"] = [min(times), max(times)]
    benchmark.pedantic(lambda: None)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["copy", "highest", "fast", "torch", "torch.compile"])
def test_losses(benchmark: BenchmarkFixture, name: str, dtype: torch.dtype) -> None:
    features, labels = loss_scene()
    labels = labels.cuda()
    inputs = [(features.cuda() + torch.randn_like(features.cuda())).to(dtype) for _ in range(POOL)]

    def step(backend: str, precision: str | None = None) -> Callable[[Tensor], Tensor]:
        loss = BottomUpLoss(
            contrast_weight=0.0,
            max_entities=ENTITIES,
            backend=backend,  # type: ignore[arg-type]
            precision=precision,  # type: ignore[arg-type]
        )
        run = torch.compile(loss) if name == "torch.compile" else loss

        def work(maps: Tensor) -> Tensor:
            maps = maps.detach().requires_grad_()
            return torch.autograd.grad(run(maps, labels).total, maps)[0]

        return work

    work: Work = {
        "copy": lambda maps: maps.clone(),
        "highest": step("auto", "highest"),
        "fast": step("auto", "fast"),
        "torch": step("reference"),
        "torch.compile": step("reference"),
    }[name]
    if name in ("highest", "fast"):
        gradient, expected = work(inputs[0]), step("reference")(inputs[0].float())
        assert (gradient - expected).norm() <= 3e-2 * expected.norm()  # type: ignore[operator]
    shape = "x".join(map(str, features.shape))
    record(benchmark, f"losses forward + backward, {shape}, {dtype}", seconds(work, inputs))


@pytest.mark.parametrize("count", [30, 200])
@pytest.mark.parametrize("name", ["mean-shift", "assign", "highest", "fast", "fast, graph"])
def test_cluster(benchmark: BenchmarkFixture, name: str, count: int) -> None:
    scenes = [scene(384, count, seed) for seed in range(4)]
    inputs = [each.features.cuda() for each in scenes] * 2
    found = ops.cluster(inputs[0], fast=True)
    check(ops.Clusters(*(part.cpu() for part in found)), scenes[0].entities, count)
    modes = found.modes[0, :count]

    works: dict[str, Work] = {
        "mean-shift": lambda features: plain_mean_shift(features, modes),
        "assign": lambda features: plain_assignment(features, modes),
        "highest": lambda features: ops.cluster(features, fast=False),
        "fast": lambda features: ops.cluster(features, fast=True),
    }
    work = as_graph(works["fast"], inputs[0]) if name == "fast, graph" else works[name]
    record(benchmark, f"cluster 128x384x384, {count} entities", seconds(work, inputs))
