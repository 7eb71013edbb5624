from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from random_models import random_network, tiny_settings

import bottomup_fast as bf
from bottomup_fast import inference
from bottomup_fast.models.network import BottomUpNetwork

Labels = NDArray[np.int32]
VARIANTS = [
    {"foreground": False},
    {"foreground": False, "position_scale": 50.0},
    {"foreground": True},
    {"foreground": True, "by_region": True},
]


def network_of(
    foreground: bool, position_scale: float | None = None, by_region: bool = False
) -> BottomUpNetwork:
    clustering = {"by_region": by_region}
    return random_network(tiny_settings(foreground, position_scale, clustering=clustering))


def picture(height: int, width: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (height // 24 + 1, width // 24 + 1, 3), dtype=np.uint8)
    return np.kron(coarse, np.ones((24, 24, 1), np.uint8))[:height, :width]


def agreement(one: Labels, other: Labels) -> float:
    """Adjusted Rand index."""
    table = np.zeros((one.max() + 1, other.max() + 1))
    np.add.at(table, (one, other), 1)
    both, first, second, every = (
        float((n * (n - 1) / 2).sum())
        for n in (table, table.sum(0), table.sum(1), np.array([one.size]))
    )
    chance = first * second / every
    return (both - chance) / ((first + second) / 2 - chance)


def changes(labels: Labels) -> NDArray[np.float64]:
    """Share of rows in which each column's label differs from the next column's."""
    return (labels[:, 1:] != labels[:, :-1]).mean(0)


@pytest.mark.parametrize(
    ("variant", "height", "width", "tile_size"),
    [
        (VARIANTS[0], 60, 500, 128),
        (VARIANTS[1], 60, 500, 128),
        (VARIANTS[2], 90, 200, 64),
        (VARIANTS[3], 90, 200, 64),
    ],
)
def test_tiles_leave_no_trace(
    variant: dict[str, Any],
    height: int,
    width: int,
    tile_size: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Random weights look farther than trained ones.
    monkeypatch.setattr(inference, "HALO", 320)
    network, pixels = network_of(**variant), picture(height, width)
    whole, tiled = (
        bf.Segmenter(network, "cpu", tile_size=side, precision="highest").segment(pixels).labels
        for side in (1024, tile_size)
    )
    assert whole.max() > 1
    assert agreement(whole, tiled) >= 0.99
    borders = np.arange(tile_size, width, tile_size) - 1
    seen = changes(tiled)
    assert seen[borders].mean() <= np.quantile(seen, 0.95)
    assert abs(seen[borders].mean() - changes(whole)[borders].mean()) < 0.02


@pytest.mark.parametrize("tile_size", [64, 100, 128])
def test_a_large_flat_object_is_one_segment(tile_size: int) -> None:
    pixels = picture(80, 640)
    pixels[:, 100:] = (200, 60, 20)
    found = bf.Segmenter(network_of(False), "cpu", tile_size=tile_size).segment(pixels)
    # At its ends the object's features depend on what is beside it.
    middle = found.labels[20:60, 260:480]
    assert len(np.unique(middle)) == 1


@pytest.mark.parametrize("side", [64, 97, 100])
def test_an_image_of_the_tile_s_size_is_seen_whole(side: int) -> None:
    network, pixels = network_of(False), picture(side, side)
    seen: list[tuple[int, ...]] = []
    found = []
    for segmenter in (bf.Segmenter(network, "cpu"), bf.Segmenter(network, "cpu", tile_size=side)):
        segmenter.network.encoder.register_forward_pre_hook(
            lambda _, images: seen.append(images[0].shape[2:])
        )
        found.append(segmenter.segment(pixels).labels)
    assert np.array_equal(*found)
    assert len(seen) == 2


@pytest.mark.parametrize("variant", VARIANTS)
def test_features_too_large_to_keep_are_computed_twice(
    variant: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = bf.Segmenter(network_of(**variant), "cpu", tile_size=64)
    pixels = picture(40, 130)
    expected = segmenter.segment(pixels)
    monkeypatch.setattr(inference, "KEPT_FEATURES", 0)
    found = segmenter.segment(pixels)
    assert np.array_equal(found.labels, expected.labels)
    assert np.array_equal(found.scores, expected.scores)


def test_modes_of_a_sample_of_pixels_serve_all(monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter = bf.Segmenter(network_of(False), "cpu", tile_size=64)
    pictures = [
        picture(*size) for size in ((90, 200), (150, 131), (80, 260), (120, 170), (200, 90))
    ]
    expected = [segmenter.segment(pixels).labels for pixels in pictures]
    monkeypatch.setitem(inference.MODE_PIXELS, "highest", 5000)
    found = [segmenter.segment(pixels).labels for pixels in pictures]
    assert all((labels > 0).all() for labels in found)
    # A random network's lines hardly separate, and few of its modes are sure.
    agreements = [agreement(one, other) for one, other in zip(found, expected, strict=True)]
    assert np.mean(agreements) > 0.95
    assert min(agreements) > 0.9
