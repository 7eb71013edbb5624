"""A steady stream of frames takes no fresh memory."""

from __future__ import annotations

import resource
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from random_models import tiny_settings

from bottomup_fast import runtime
from bottomup_fast.runtime.network import FloatArray

SIDE, DIMENSIONS = 1056, 8
FEATURE_BYTES = 4 * DIMENSIONS * SIDE * SIDE  # more than malloc ever keeps by itself


def discs(side: int) -> tuple[FloatArray, FloatArray]:
    """Features (D, H, W) and logits (H, W) of some discs, each with a line of its own."""
    y, x = np.mgrid[:side, :side]
    features = np.zeros((DIMENSIONS, side, side), np.float32)
    logits = np.full((side, side), -5, np.float32)
    for line in range(DIMENSIONS):
        centre = (line + 0.5) * side / DIMENSIONS
        inside = (y - centre) ** 2 + (x - centre) ** 2 < 14**2
        features[line][inside] = 1
        logits[inside] = 5
    return features, logits


def segmenter(side: int) -> runtime.Segmenter:
    output = discs(side)
    settings = tiny_settings(True, clustering={"by_region": True, "min_support": 10})
    return runtime.Segmenter(lambda image, y, x: output, settings.model_dump_json(), tile_size=side)


def memory() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def fresh_bytes() -> int:
    """Memory written for the first time so far: each page of it is a fault."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt * resource.getpagesize()


def fresh_bytes_of_later_frames() -> float:
    """Per frame, after the first three."""
    image = np.zeros((SIDE, SIDE, 1), np.uint8)
    on_discs = segmenter(SIDE)
    for _ in range(3):
        labels = on_discs.segment(image).labels
    assert labels.max() == DIMENSIONS
    before = fresh_bytes()
    for _ in range(5):
        on_discs.segment(image)
    return (fresh_bytes() - before) / 5


def test_frames_of_one_size_use_the_memory_of_the_one_before() -> None:
    # What malloc keeps depends on what a process did before: a new one.
    with get_context("spawn").Pool(1) as pool:
        assert pool.apply(fresh_bytes_of_later_frames) < FEATURE_BYTES / 4


@pytest.mark.parametrize("threads", [1, 4])
def test_two_hundred_frames_do_not_grow(threads: int) -> None:
    side = 160
    image = np.zeros((side, side, 1), np.uint8)
    on_discs = segmenter(side)
    expected = on_discs.segment(image).labels

    def frames(count: int) -> None:
        with ThreadPoolExecutor(threads) as pool:
            for found in pool.map(lambda _: on_discs.segment(image), range(count)):
                assert np.array_equal(found.labels, expected)

    frames(50)
    before = memory()
    frames(200)
    assert memory() - before < 16 << 20
