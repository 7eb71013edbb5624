from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageSequence
from random_models import random_network, tiny_settings

from bottomup_fast import InputError, Segmenter
from bottomup_fast.models.network import BottomUpNetwork

Pixels = NDArray[np.uint8]


@pytest.fixture(scope="module")
def network() -> BottomUpNetwork:
    return random_network(tiny_settings(True))


@pytest.fixture
def segmenter(network: BottomUpNetwork) -> Segmenter:
    network.settings = tiny_settings(True, clustering={"foreground_threshold": 0.4})
    return Segmenter(network, "cpu")


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def clip(count: int, height: int = 40, width: int = 48) -> list[Pixels]:
    """Coloured blocks that drift by two pixels a frame."""
    blocks = np.random.default_rng(0).integers(0, 256, (6, 12, 3), np.uint8)
    wide = np.kron(blocks, np.ones((12, 12, 1), np.uint8))
    return [wide[:height, 2 * frame : 2 * frame + width] for frame in range(count)]


@pytest.mark.parametrize(
    ("preprocessing", "arguments"),
    [
        ({}, {}),
        ({"scale": 1.5}, {"tile_size": 32}),
        ({"resolutions": (32, 64)}, {}),
        ({"scale": 1.0, "object_diameter": 9.0}, {}),
    ],
)
@pytest.mark.parametrize("workers", [1, 3])
def test_each_frame_in_order_as_segment_has_it(
    network: BottomUpNetwork,
    preprocessing: dict[str, Any],
    arguments: dict[str, Any],
    workers: int,
) -> None:
    network.settings = tiny_settings(
        True, preprocessing=preprocessing, clustering={"split_components": True}
    )
    segmenter = Segmenter(network, "cpu", **arguments)
    frames = clip(5)
    results = list(segmenter.stream(frames, workers=workers, fixed_zoom=False))
    assert [found.number for found in results] == [0, 1, 2, 3, 4]
    for frame, found in zip(frames, results, strict=True):
        alone = segmenter.segment(frame)
        assert np.array_equal(found.segmentation.labels, alone.labels)
        assert np.array_equal(found.segmentation.scores, alone.scores)
        assert np.array_equal(found.segmentation.image, frame)
        assert found.segmentation.metadata == alone.metadata
        assert found.ids.shape == (alone.num_segments,)
        assert len(set(found.ids.tolist())) == alone.num_segments == len(found)
    assert max(map(len, results)) > 1
    assert results[0].ids.tolist() == list(range(1, len(results[0]) + 1))


def test_a_zoom_that_is_searched_is_kept_from_the_first_frame_with_objects(
    network: BottomUpNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    network.settings = tiny_settings(True, preprocessing={"scale": 1.0, "object_diameter": 9.0})
    segmenter = Segmenter(network, "cpu")
    # As if nothing were found in the first frame.
    zooms = iter([None, 1.25])
    monkeypatch.setattr(segmenter, "zoom", lambda image: next(zooms))
    frames = clip(5)
    expected = [Segmenter(network, "cpu", scale=1.0).segment(frames[0])]
    expected += Segmenter(network, "cpu", scale=1.25).segment_batch(frames[1:])
    for found, alone in zip(segmenter.stream(frames), expected, strict=True):
        assert np.array_equal(found.segmentation.labels, alone.labels)


def test_a_picture_that_stands_still_keeps_all_ids_and_colours(segmenter: Segmenter) -> None:
    first, *others = segmenter.stream(clip(1) * 4)
    assert np.array_equal(first.id_map, first.segmentation.labels)
    for found in others:
        assert np.array_equal(found.ids, first.ids)
        assert np.array_equal(found.overlay(), first.overlay())
    assert first.overlay(1.0).shape == (40, 48, 3)
    background = first.id_map == 0
    assert np.array_equal(first.overlay(1.0)[background], clip(1)[0][background])
    colours = {tuple(colour) for colour in first.overlay(1.0)[~background].tolist()}
    assert len(colours) == len(first)
    with pytest.raises(InputError, match=r"^alpha: "):
        first.overlay(1.5)


def test_colours_follow_the_ids(segmenter: Segmenter) -> None:
    seen: dict[int, tuple[int, ...]] = {}
    for found in segmenter.stream(frame.astype(np.uint16) * 257 for frame in clip(6)):
        picture, ids = found.overlay(1.0), found.id_map
        for number in found.ids.tolist():
            (colour,) = {tuple(one) for one in picture[ids == number].tolist()}
            assert seen.setdefault(number, colour) == colour


def test_a_source_may_use_its_memory_again(segmenter: Segmenter, tmp_path: Path) -> None:
    frames = clip(5)
    expected = [found.id_map for found in segmenter.stream(frames)]
    first, *others = map(Image.fromarray, frames)
    path = tmp_path / "clip.png"
    first.save(path, save_all=True, append_images=others)

    def one_buffer() -> Iterator[Pixels]:
        buffer = np.empty_like(frames[0])
        for frame in frames:
            buffer[:] = frame
            yield buffer
        buffer[:] = 0

    with Image.open(path) as animation:
        for source in (one_buffer(), ImageSequence.Iterator(animation)):
            found = [frame.id_map for frame in segmenter.stream(source)]
            assert np.array_equal(found, expected)


def test_paths_and_bytes(segmenter: Segmenter, tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(4)]
    for path, frame in zip(paths, clip(4), strict=True):
        Image.fromarray(frame).save(path)
    expected = [found.id_map for found in segmenter.stream(clip(4))]
    mixed = [str(paths[0]), paths[1], paths[2].read_bytes(), Image.open(paths[3])]
    assert np.array_equal([found.id_map for found in segmenter.stream(mixed)], expected)


def test_no_frames(segmenter: Segmenter) -> None:
    assert list(segmenter.stream([])) == []


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_frames_are_taken_as_needed(segmenter: Segmenter, workers: int) -> None:
    taken = 0

    def source() -> Iterator[Pixels]:
        nonlocal taken
        for frame in clip(12):
            taken += 1
            yield frame

    results = segmenter.stream(source(), workers=workers)
    assert taken == 0
    for found in results:
        assert taken == min(12, found.number + 1 + workers)


def test_frames_are_taken_in_the_callers_thread(segmenter: Segmenter) -> None:
    def source() -> Iterator[Pixels]:
        for frame in clip(4):
            assert threading.current_thread() is threading.main_thread()
            yield frame

    assert len(list(segmenter.stream(source()))) == 4


def test_frames_are_in_work_at_once(segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    together = threading.Barrier(2, timeout=60)
    forward = segmenter.network.forward_with_foreground

    def meet(*arguments: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        together.wait()
        return forward(*arguments)

    monkeypatch.setattr(segmenter.network, "forward_with_foreground", meet)
    assert len(list(segmenter.stream(clip(4), workers=2))) == 4
