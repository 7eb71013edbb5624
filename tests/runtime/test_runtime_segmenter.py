from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import bottomup_fast as bf
from bottomup_fast import runtime
from bottomup_fast.inference import resize
from bottomup_fast.preprocessing import to_unit_range
from bottomup_fast.settings import PreprocessingSettings

SETTINGS = """{"name": "test", "architecture": {"name": "none", "feature_dim": 3%s},
 "preprocessing": {%s}, "clustering": {%s}}"""
RANGE = '"scale": 1.0, "mean": [0, 0, 0], "std": [1, 1, 1]'


def picture(seed: int = 0, height: int = 66, width: int = 83, block: int = 9) -> Any:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // block + 1, width // block + 1, 3), dtype=np.uint8)
    return np.kron(coarse, np.ones((block, block, 1), np.uint8))[:height, :width]


def colours(image: NDArray[np.float32], y: int, x: int) -> tuple[Any, None]:
    return image + np.float32(0.1), None


PREPARATIONS: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ({"scale": 1.0}, {}, {}),
    (
        {"scale": 0.7, "normalisation": "percentile"},
        {"split_components": True, "min_area": 9},
        {"keep_background": True},
    ),
    ({"resolutions": [32, 64, 96], "joining_diameter": 12.5}, {"split_components": True}, {}),
    (
        {"resolutions": [48, 96], "joining_diameter": 8},
        {"min_area": 5, "bandwidth_deg": 30},
        {"resolutions": (40, 80), "leave_outliers": True, "tile_size": 64},
    ),
    ({"resolutions": [64], "joining_diameter": 8}, {}, {"scale": 1.2}),
    # More pixels than modes are found on.
    ({"resolutions": [320]}, {"precision": "fast"}, {}),
    (
        {"resolutions": [48, 96]},
        {"split_components": True, "min_area": 5, "bandwidth_deg": 30},
        {},
    ),
    (
        {"scale": 1.0},
        {"split_components": True},
        {"resolutions": (32, 64, 96), "leave_outliers": True},
    ),
    ({"scale": 1.3}, {"bandwidth_deg": 25}, {"tile_size": 64}),
]
BY_REGION: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ({"scale": 1.0, "object_diameter": 20.0}, {"split_components": True, "min_score": 0.52}, {}),
    ({"scale": 0.4, "object_diameter": 12.0}, {"split_components": True}, {}),
    ({"scale": 0.4, "object_diameter": 90.0}, {}, {"keep_background": True}),
    ({"scale": 1.0, "object_diameter": 3.0}, {"min_area": 4}, {}),
    ({"scale": 0.4, "object_diameter": 9.0}, {"foreground_threshold": 0.999}, {}),
    ({"scale": 1.0, "normalisation": "percentile"}, {"min_area": 8}, {"tile_size": 64}),
]


@pytest.mark.parametrize("position_scale", [None, 9.0])
@pytest.mark.parametrize("foreground", [False, True])
def test_labels_are_those_of_the_torch_segmenter(
    make_pair: Any, foreground: bool, position_scale: float | None
) -> None:
    by_region = [(one, two | {"by_region": True}, three) for one, two, three in BY_REGION]
    for preprocessing, clustering, arguments in PREPARATIONS + (by_region if foreground else []):
        expecting, segmenter = make_pair(
            foreground, position_scale, preprocessing, clustering, **arguments
        )
        for pixels in (picture(), picture(1, 50, 41).astype(np.uint16) * 150 + 7):
            expected, found = expecting.segment(pixels), segmenter.segment(pixels)
            assert np.array_equal(found.labels, expected.labels)
            for name in ("scores", "predicted_iou", "stability_score"):
                assert getattr(found, name) == pytest.approx(getattr(expected, name), abs=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (33, 2), (31, 65), (7, 5)])
def test_any_size(make_pair: Any, shape: tuple[int, int]) -> None:
    expecting, segmenter = make_pair(True, None, {"resolutions": [32, 64]}, {"min_area": 3})
    pixels = picture(2, *shape)
    assert np.array_equal(segmenter.segment(pixels).labels, expecting.segment(pixels).labels)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("normalisation", ["range", "percentile"])
def test_the_network_sees_what_it_sees_in_torch(normalisation: str, bits: int) -> None:
    rng = np.random.default_rng(0)
    kind = np.uint8 if bits == 8 else np.uint16
    for scale in (0.1, 0.33, 0.5, 0.7, 1.3, 2.0, 3.7):
        pixels: Any = rng.integers(0, 1 << bits, (47, 59, 3)).astype(kind)
        settings = PreprocessingSettings(scale=scale, normalisation=normalisation)  # type: ignore[arg-type]
        unit = torch.from_numpy(to_unit_range(pixels, settings)).permute(2, 0, 1)
        expected = (resize(unit, max(1, round(47 * scale)), max(1, round(59 * scale))) - 0.5) / 0.5
        seen: list[NDArray[np.float32]] = []

        def keep(image: NDArray[np.float32], y: int, x: int, seen: Any = seen) -> Any:
            seen.append(image.copy())
            return colours(image, y, x)

        text = f'"scale": {scale}, "normalisation": "{normalisation}"'
        runtime.Segmenter(keep, SETTINGS % ("", text, "")).segment(pixels)
        assert np.array_equal(seen[0], expected.numpy())


def test_kinds_of_images() -> None:
    segmenter = runtime.Segmenter(colours, SETTINGS % ("", RANGE, ""))
    grey = picture()[..., 0]
    for image in (
        grey,
        grey[..., None],
        np.dstack([grey, grey, grey, grey // 2]),
        grey.astype(np.uint16) * 257,
        grey.astype(">u2"),
        grey > 99,
        grey / 255,
        picture()[::-1, ::2],
    ):
        expected = segmenter.segment(bf.images.read_image(image)).labels
        assert np.array_equal(segmenter.segment(image).labels, expected)
    found, *_ = segmenter.segment_batch([picture()])
    record = found.to_segmentation(picture())
    assert len(found) == len(record.segments) == found.labels.max()


MOST_GROWTH = 8 << 20
"""Bytes, for a segmenter in eight threads that has warmed up."""


def resident() -> int:
    """Bytes of memory that the process holds."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("runs", [10, pytest.param(200, marks=pytest.mark.slow)])
def test_threads_get_the_same_labels(runs: int) -> None:
    segmenter = runtime.Segmenter(colours, SETTINGS % ("", '"resolutions": [32, 64]', ""))
    images = [picture(seed, 40, 50) for seed in range(3)]
    expected = [segmenter.segment(image).labels for image in images]

    def work(runs: int) -> bool:
        order = [i % len(images) for i in range(runs)]
        return all(np.array_equal(segmenter.segment(images[i]).labels, expected[i]) for i in order)

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(work, [max(3, runs // 10)] * 8))
        before = resident()
        assert all(threads.map(work, [runs] * 8))
        assert resident() - before < MOST_GROWTH


def test_what_a_network_raises_comes_out() -> None:
    def broken(image: Any, y: int, x: int) -> Any:
        raise KeyError("no weights")

    def small(image: Any, y: int, x: int) -> Any:
        return image[:, 1:], None

    with pytest.raises(KeyError, match="no weights"):
        runtime.Segmenter(broken, SETTINGS % ("", RANGE, "")).segment(picture())
    with pytest.raises(bf.InputError, match="features have another shape"):
        runtime.Segmenter(small, SETTINGS % ("", RANGE, "")).segment(picture())


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((0, 4, 3), np.uint8), "zero-size image"),
        (np.zeros((4, 4, 2), np.uint8), "expected shape"),
        (np.zeros(4, np.uint8), "expected shape"),
        (np.zeros((4, 4), np.int32), "expected uint8, uint16, bool or float"),
        (np.full((4, 4), np.nan), "finite and in"),
        ("missing.png", "no such file"),
    ],
)
def test_refused_images(image: Any, message: str) -> None:
    segmenter = runtime.Segmenter(colours, SETTINGS % ("", RANGE, ""))
    with pytest.raises(bf.InputError, match=message):
        segmenter.segment(image)


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        (None, {}, "settings: a function says nothing"),
        ("", {}, "settings: not JSON"),
        ("{}", {}, "settings: name is missing"),
        (SETTINGS % (', "depth": 3', RANGE, ""), {}, "settings: architecture: unknown key depth"),
        (SETTINGS % (', "foreground": 1', RANGE, ""), {}, "foreground has the wrong type"),
        (SETTINGS % ("", RANGE + ', "scale": 2', ""), {}, "the key scale occurs twice"),
        (SETTINGS % ("", '"resolutions": [64, 32]', ""), {}, "resolutions must be ascending"),
        (SETTINGS % ("", '"resolutions": []', ""), {}, "give either scale or resolutions"),
        (SETTINGS % ("", RANGE, '"bandwidth_deg": 60'), {}, r"bandwidth_deg must be in \(0, 45\]"),
        (SETTINGS % ("", RANGE, '"min_support": 1.5'), {}, "min_support must be an integer"),
        (SETTINGS % ("", RANGE, '"by_region": true'), {}, "by_region needs a model that tells"),
        (SETTINGS % ("", RANGE, ""), {"tile_size": 8}, "tile_size must be at least 32"),
        (SETTINGS % ("", RANGE, ""), {"scale": -1.0}, "scale must be positive"),
        (SETTINGS % ("", RANGE, ""), {"scale": 1e9}, "scale must be at most 1000"),
        (SETTINGS % ("", RANGE, ""), {"resolutions": [1 << 40]}, "resolutions must be at most"),
        (SETTINGS % ("", RANGE, ""), {"scale": 1.0, "resolutions": [64]}, "give one of them"),
        (SETTINGS % ("", RANGE, ""), {"resolutions": []}, "resolutions: must not be empty"),
    ],
)
def test_refused_settings(text: str | None, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(bf.InputError, match=message) as raised:
        runtime.Segmenter(colours, text, **arguments)
    assert "\n" not in str(raised.value)


def test_broken_settings_never_crash() -> None:
    whole = SETTINGS % (', "foreground": true', RANGE, '"min_area": 3')
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(500):
        content = bytearray(whole.encode())
        content[rng.integers(len(content))] ^= 1 << rng.integers(8)
        try:
            runtime.Segmenter(colours, content.decode("latin-1"))
        except bf.InputError:
            refused += 1
    assert refused > 100
    for end in range(len(whole)):
        with pytest.raises(bf.InputError, match="settings"):
            runtime.Segmenter(colours, whole[:end])
