"""Frames a second: `Segmenter.stream` beside a plain loop of `segment`, in one run.

    make bench

Twelve frames of the examples' clip by the bundled model `cells`:

- `loop`: `segment` on each frame, which searches the zoom in each;
- `loop, one zoom`: `segment` at the zoom that the stream keeps;
- `stream N`: the stream with N workers, ids included; `stream 2, any zoom` with `fixed_zoom=False`.

Labels of the last are checked to be those of `loop`, of the others those of `loop, one zoom`.
`extra_info` holds frames a second, and how often objects change ids, out of how many observations.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pytest
import torch
from id_switches import EXAMPLES, clip, count_switches, objects_in_frames
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture

from bottomup_fast import Segmenter
from bottomup_fast.images import read_image

Frames: TypeAlias = list[NDArray[np.uint8]]
Labels: TypeAlias = list[NDArray[np.int32]]


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter("cells")


@pytest.fixture(scope="module")
def at_one_zoom(segmenter: Segmenter) -> Segmenter:
    first = segmenter.prepare(read_image(clip()[0]))
    return Segmenter("cells", scale=segmenter.zoom(first))


def loop(segmenter: Segmenter, frames: Frames) -> Labels:
    return [segmenter.segment(frame).labels for frame in frames]


def stream(**settings: Any) -> Callable[[Segmenter, Frames], Labels]:
    def run(segmenter: Segmenter, frames: Frames) -> Labels:
        return [found.segmentation.labels for found in segmenter.stream(frames, **settings)]

    return run


METHODS = {
    "loop": loop,
    "loop, one zoom": loop,
    "stream 1": stream(workers=1),
    "stream 2": stream(workers=2),
    "stream 3": stream(workers=3),
    "stream 2, any zoom": stream(fixed_zoom=False),
}


@pytest.mark.parametrize("method", METHODS)
def test_stream(
    benchmark: BenchmarkFixture, segmenter: Segmenter, at_one_zoom: Segmenter, method: str
) -> None:
    frames = clip()[:12]
    benchmark.group = (
        f"{len(frames)} frames of {frames[0].shape[1]}x{frames[0].shape[0]} by cells, "
        f"{torch.get_num_threads()} threads"
    )
    plain = segmenter if "any" in method or method == "loop" else at_one_zoom
    used = at_one_zoom if method == "loop, one zoom" else segmenter
    run = METHODS[method]
    for ours, theirs in zip(run(used, frames[:4]), loop(plain, frames[:4]), strict=True):
        assert np.array_equal(ours, theirs)
    benchmark.pedantic(run, args=(used, frames), rounds=3, warmup_rounds=0)
    benchmark.extra_info["frames per second"] = round(len(frames) / benchmark.stats["median"], 1)


def test_id_switches(benchmark: BenchmarkFixture, segmenter: Segmenter) -> None:
    frames = clip()
    truth = objects_in_frames(segmenter.segment(EXAMPLES / "nuclei.png").labels)
    results = benchmark.pedantic(lambda: list(segmenter.stream(frames)), rounds=1)
    switches, observations = count_switches(truth, [found.id_map for found in results])
    benchmark.extra_info |= {"id switches": switches, "observations": observations}
