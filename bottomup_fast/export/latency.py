"""How long each stage of a segmentation takes, in Python and in C++, by what runs the network."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bottomup_fast import segmenter as stages
from bottomup_fast.cpu import multiplies_bfloat16
from bottomup_fast.export.aoti import export_aoti, load_aoti
from bottomup_fast.export.onnx_file import export_onnx, load_onnx
from bottomup_fast.images import ImageSource, read_image
from bottomup_fast.models.folding import fold_normalisation
from bottomup_fast.models.network import BottomUpNetwork
from bottomup_fast.models.reduced_precision import in_bfloat16
from bottomup_fast.segmentation import Segmentation
from bottomup_fast.segmenter import Segmenter

if TYPE_CHECKING:
    from bottomup_fast import runtime

Backend = Literal[
    "eager",
    "compile",
    "onnxruntime",
    "aoti",
    "cpp-onnxruntime",
    "cpp-aoti",
    "eager-bfloat16",
    "aoti-bfloat16",
    "cpp-aoti-bfloat16",
]
BACKENDS: tuple[Backend, ...] = get_args(Backend)
_BFLOAT16 = "-bfloat16"
STAGES = ("decode", "network", "cluster", "merge", "encode")
"""Decoding includes intensity and size, merging pieces and scores, encoding all files of `save`."""
PERCENTILES = (50, 95, 99)

# Functions that `Segmenter.segment` calls, by stage; what it does beside them is merging.
_CALLS = {
    "read_image": "decode",
    "to_unit_range": "decode",
    "resize": "decode",
    "pixel_maps": "cluster",
}


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


def suitable_backends() -> list[Backend]:
    """All, but bfloat16 only where the CPU has units for it."""
    fast = multiplies_bfloat16()
    return [name for name in BACKENDS if fast or not name.endswith(_BFLOAT16)]


def make_segmenter(
    network: BottomUpNetwork, backend: Backend, resolutions: Sequence[int] | None = None
) -> Segmenter | runtime.Segmenter:
    """A segmenter on the CPU as a backend runs it; files it needs are made and deleted again.

    Raises:
        ImportError: the backend's package is missing.
        InputError: impossible resolutions.
    """
    reduced = backend.endswith(_BFLOAT16)
    backend = cast(Backend, backend.removesuffix(_BFLOAT16))
    if backend in ("eager", "compile"):
        network = fold_normalisation(network)
        network = in_bfloat16(network) if reduced else network
        return Segmenter(TimedNetwork(network, backend == "compile"), "cpu", resolutions)
    with tempfile.TemporaryDirectory() as folder:
        onnx = backend.endswith("onnxruntime")
        path = Path(folder) / ("model.onnx" if onnx else "model.pt2")
        if onnx:
            export_onnx(network, path)
        else:
            export_aoti(network, path, precision="bfloat16" if reduced else "float32")
        if backend.startswith("cpp"):
            from bottomup_fast import runtime

            return runtime.Segmenter(path, resolutions=resolutions, threads=torch.get_num_threads())
        loaded = load_onnx(path) if onnx else load_aoti(path)
        return Segmenter(TimedNetwork(loaded), "cpu", resolutions)


def measure(
    segmenter: Segmenter | runtime.Segmenter, image: ImageSource, runs: int, warmup: int
) -> tuple[dict[str, list[float]], NDArray[np.int32]]:
    """Seconds of each of `STAGES` in `runs` segmentations after `warmup` more; and the labels.

    Args:
        segmenter: of `make_segmenter`.
        image: to segment, read anew each time.
        runs: that count.
        warmup: that do not.
    """
    seconds: dict[str, list[float]] = {stage: [] for stage in STAGES}
    with tempfile.TemporaryDirectory() as folder:
        for run in range(warmup + runs):
            if isinstance(segmenter, Segmenter):
                found, parts = _segment_in_python(segmenter, image)
            else:
                found, parts = _segment_in_cpp(segmenter, image)
            start = time.perf_counter()
            found.save(folder)
            parts["encode"] = time.perf_counter() - start
            if run >= warmup:
                for stage, value in parts.items():
                    seconds[stage].append(value)
    return seconds, found.labels


def _segment_in_python(
    segmenter: Segmenter, image: ImageSource
) -> tuple[Segmentation, dict[str, float]]:
    network = cast(TimedNetwork, segmenter.network)
    network.seconds = 0.0
    with _timed_calls() as spent:
        start = time.perf_counter()
        found = segmenter.segment(image)
        whole = time.perf_counter() - start
    return found, {
        "decode": spent["decode"],
        "network": network.seconds,
        "cluster": spent["cluster"] - network.seconds,
        "merge": whole - spent["decode"] - spent["cluster"],
    }


def _segment_in_cpp(
    segmenter: runtime.Segmenter, image: ImageSource
) -> tuple[Segmentation, dict[str, float]]:
    start = time.perf_counter()
    pixels = read_image(image)
    read = time.perf_counter() - start
    segments = segmenter.segment(pixels)
    prepare, network, cluster, _ = segments.seconds
    found = segments.to_segmentation(pixels)
    whole = time.perf_counter() - start
    return found, {
        "decode": read + prepare,
        "network": network,
        "cluster": cluster,
        "merge": whole - read - prepare - network - cluster,
    }


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
