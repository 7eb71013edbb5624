"""How long each stage of a segmentation takes, by whatever the network runs in."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bottomup_fast import segmenter as stages
from bottomup_fast.export.aoti import export_aoti, load_aoti
from bottomup_fast.export.onnx_file import export_onnx, load_onnx
from bottomup_fast.images import ImageSource
from bottomup_fast.models.network import BottomUpNetwork
from bottomup_fast.segmenter import Segmenter

Backend = Literal["eager", "compile", "onnxruntime", "aoti"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)
STAGES = ("decode", "network", "cluster", "merge", "encode")
PERCENTILES = (50, 95, 99)

# Functions that `Segmenter.segment` calls, by stage; what it does beside them is merging.
_CALLS = {"read_image": "decode", "to_unit_range": "decode", "pixel_maps": "cluster"}


class TimedNetwork(BottomUpNetwork):
    """A network that adds the seconds it takes to `seconds`."""

    def __init__(self, network: BottomUpNetwork, compiled: bool = False) -> None:
        nn.Module.__init__(self)  # it has no encoder and decoder of its own
        self.network = network
        self.settings = network.settings
        self.feature_dim = network.feature_dim
        self.foreground = network.foreground
        self.seconds = 0.0
        run = network.forward_with_foreground
        self._run = torch.compile(run, dynamic=True) if compiled else run

    def forward_with_foreground(
        self, images: Tensor, origin: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """What the network gives."""
        start = time.perf_counter()
        result = self._run(images, origin)
        if images.is_cuda:
            torch.cuda.synchronize(images.device)
        self.seconds += time.perf_counter() - start
        return result


def make_network(network: BottomUpNetwork, backend: Backend) -> TimedNetwork:
    """The network as run by a backend; files it needs are made and deleted again.

    Raises:
        ImportError: the backend's package is missing.
    """
    if backend in ("eager", "compile"):
        return TimedNetwork(network, backend == "compile")
    with tempfile.TemporaryDirectory() as folder:
        if backend == "onnxruntime":
            path = Path(folder) / "model.onnx"
            export_onnx(network, path)
            return TimedNetwork(load_onnx(path))
        path = Path(folder) / "model.pt2"
        export_aoti(network, path)
        return TimedNetwork(load_aoti(path))


def measure(
    segmenter: Segmenter, image: ImageSource, runs: int, warmup: int
) -> tuple[dict[str, list[float]], NDArray[np.int32]]:
    """Seconds of each of `STAGES` in `runs` segmentations after `warmup` more; and the labels.

    Args:
        segmenter: of a `TimedNetwork`.
        image: to segment, read anew each time.
        runs: that count.
        warmup: that do not.
    """
    network = cast(TimedNetwork, segmenter.network)
    seconds: dict[str, list[float]] = {stage: [] for stage in STAGES}
    with tempfile.TemporaryDirectory() as folder:
        for run in range(warmup + runs):
            network.seconds = 0.0
            with _timed_calls() as spent:
                start = time.perf_counter()
                found = segmenter.segment(image)
                whole = time.perf_counter() - start
            start = time.perf_counter()
            found.save(folder)
            encode = time.perf_counter() - start
            if run < warmup:
                continue
            parts = {
                "decode": spent["decode"],
                "network": network.seconds,
                "cluster": spent["cluster"] - network.seconds,
                "merge": whole - spent["decode"] - spent["cluster"],
                "encode": encode,
            }
            for stage, value in parts.items():
                seconds[stage].append(value)
    return seconds, found.labels


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Milliseconds at each of `PERCENTILES`, by name."""
    values = np.percentile(np.asarray(seconds) * 1e3, PERCENTILES)
    return {f"p{rank}": float(value) for rank, value in zip(PERCENTILES, values, strict=True)}


@contextmanager
def _timed_calls() -> Iterator[dict[str, float]]:
    """Seconds spent by stage in the functions of `_CALLS` while the context lasts."""
    spent = dict.fromkeys(_CALLS.values(), 0.0)
    before = {name: getattr(stages, name) for name in _CALLS}

    def timed(function: Callable[..., Any], stage: str) -> Callable[..., Any]:
        def call(*arguments: Any, **settings: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*arguments, **settings)
            finally:
                spent[stage] += time.perf_counter() - start

        return call

    for name, function in before.items():
        setattr(stages, name, timed(function, _CALLS[name]))
    try:
        yield spent
    finally:
        for name, function in before.items():
            setattr(stages, name, function)
