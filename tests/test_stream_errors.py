from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from random_models import random_network, tiny_settings

from bottomup_fast import InputError, Segmenter

FRAME = np.random.default_rng(0).integers(0, 256, (32, 40, 3), np.uint8)


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter(random_network(tiny_settings()), "cpu")


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def failing_at(position: int, error: Exception) -> Iterator[NDArray[Any]]:
    for _ in range(position):
        yield FRAME
    raise error


@pytest.mark.parametrize("position", [0, 1, 4])
@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (np.zeros((0, 4), np.uint8), "source: zero-size image"),
        (FRAME.astype(np.float32), "source: float values"),
        (7, "source: expected a path"),
        (Path("missing.png"), "missing.png: no such file"),
        (b"not an image", "source: not an image"),
    ],
)
def test_a_bad_frame_is_named_after_those_before(
    segmenter: Segmenter, position: int, frame: Any, reason: str
) -> None:
    results = segmenter.stream([*[FRAME] * position, frame, *[FRAME] * 5])
    assert [next(results).number for _ in range(position)] == list(range(position))
    with pytest.raises(InputError, match=f"^frame {position}: {reason}"):
        next(results)
    assert next(results, None) is None


def test_frames_have_one_size(segmenter: Segmenter) -> None:
    results = segmenter.stream([FRAME, FRAME, FRAME[:, :38]])
    assert len([next(results), next(results)]) == 2
    with pytest.raises(InputError, match=r"^frame 2: size 38x32 differs .* 40x32"):
        next(results)


@pytest.mark.parametrize("position", [0, 1, 5])
def test_an_error_of_the_source_comes_through(segmenter: Segmenter, position: int) -> None:
    error = KeyError("camera")
    results = segmenter.stream(failing_at(position, error))
    for _ in range(position):
        next(results)
    with pytest.raises(KeyError) as caught:
        next(results)
    assert caught.value is error
    assert error.__notes__ == [f"frame {position} of the stream"]


def test_an_input_error_of_the_source_gets_the_frame(segmenter: Segmenter) -> None:
    with pytest.raises(InputError, match=r"^frame 1: clip.mp4: damaged$"):
        list(segmenter.stream(failing_at(1, InputError("clip.mp4: damaged"))))


def test_an_error_in_a_worker_comes_through(
    segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    segment = segmenter.segment_prepared

    def fail_on_black(pixels: NDArray[Any], *others: Any) -> Any:
        if not pixels.any():
            raise MemoryError("no memory")
        return segment(pixels, *others)

    monkeypatch.setattr(segmenter, "segment_prepared", fail_on_black)
    results = segmenter.stream([FRAME, FRAME * 0, FRAME, FRAME, FRAME])
    assert next(results).number == 0
    with pytest.raises(MemoryError, match="no memory") as caught:
        next(results)
    assert caught.value.__notes__ == ["frame 1 of the stream"]


def test_a_stream_may_be_closed_early_and_the_source_be_used_on(segmenter: Segmenter) -> None:
    source = (FRAME for _ in iter(int, 1))
    results = segmenter.stream(source, workers=2)
    for _ in range(3):
        next(results)
    results.close()  # type: ignore[attr-defined]
    assert next(results, None) is None
    assert next(source) is FRAME
    for found in segmenter.stream(source):
        if found.number == 2:
            break
    del found


def test_a_stream_that_nobody_begins_or_ends_leaves_nothing(segmenter: Segmenter) -> None:
    before = threading.active_count()
    results = segmenter.stream(FRAME for _ in iter(int, 1))
    assert threading.active_count() == before
    next(results)
    assert threading.active_count() > before
    del results


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("clip.mp4",), "frames: expected an iterable of images, got str"),
        ((Path("clip.mp4"),), "frames: expected an iterable of images, got PosixPath"),
        ((b"bytes",), "frames: expected an iterable of images, got bytes"),
        ((7,), "frames: expected an iterable of images, got int"),
    ],
)
def test_frames_are_no_path(segmenter: Segmenter, arguments: Any, reason: str) -> None:
    with pytest.raises(InputError, match=f"^{reason}"):
        segmenter.stream(*arguments)


@pytest.mark.parametrize("arguments", [{"workers": 0}, {"memory": -1}])
def test_bad_arguments_are_told_at_once(segmenter: Segmenter, arguments: dict[str, int]) -> None:
    with pytest.raises(InputError, match=f"^{next(iter(arguments))} must"):
        segmenter.stream([FRAME], **arguments)  # type: ignore[arg-type]
