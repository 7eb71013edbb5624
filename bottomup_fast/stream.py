"""Frames in, Segmentations with lasting ids out, several frames in work at once."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count, islice
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bottomup_fast.errors import InputError
from bottomup_fast.images import ImageSource, read_image
from bottomup_fast.overlay import Picture, draw_overlay, number_colours
from bottomup_fast.segmentation import Segmentation
from bottomup_fast.tracking import Floats, Ids, Tracker, segment_lines

if TYPE_CHECKING:
    from bottomup_fast.segmenter import Segmenter

_Work: TypeAlias = "Future[tuple[Segmentation, Floats]]"


@dataclass(frozen=True)
class TrackedFrame:
    """One frame of a stream.

    Attributes:
        number: of the frame in its stream, from 0.
        segmentation: its segments, with labels 1..n as everywhere.
        ids: (n,) positive int64; `ids[label - 1]` stays with the object from frame to frame.
    """

    number: int
    segmentation: Segmentation
    ids: Ids

    def __len__(self) -> int:
        return len(self.segmentation)

    @property
    def id_map(self) -> NDArray[np.int64]:
        """(H, W), the id of each pixel's segment; 0 for background."""
        return np.concatenate((np.zeros(1, np.int64), self.ids))[self.segmentation.labels]

    def overlay(self, alpha: float = 0.45) -> Picture:
        """The frame with its segments tinted, each in the colour of its id; uint8 (H, W, 3).

        Args:
            alpha: share of the colour, 0 to 1; the rims of the segments have all of it.

        Raises:
            InputError: `alpha` out of range.
        """
        assert self.segmentation.image is not None
        colours = np.rint(number_colours(self.ids) * 255).astype(np.uint8)
        return draw_overlay(self.segmentation.image, self.segmentation.labels, alpha, True, colours)


class _Schedule:
    """What the first frame decides for all: the size, and the zoom if the model searches one."""

    def __init__(self, segmenter: Segmenter, fixed_zoom: bool) -> None:
        self.segmenter = segmenter
        self.size: tuple[int, int] | None = None
        self.zoom: float | None = None
        preprocessing = segmenter.settings.preprocessing
        self.searching = fixed_zoom and preprocessing.object_diameter is not None

    def admit(self, image: ImageSource) -> tuple[ImageSource, float | None]:
        """The image and the zoom to segment it at; done before the next frame is asked for."""
        if not isinstance(image, str | os.PathLike | bytes) or self.size is None or self.searching:
            # A source may put its next frame where this one is.
            image = pixels = self._read(image)
            self.size = pixels.shape[:2]
            if self.searching:
                found = self.segmenter.zoom(self.segmenter.prepare(pixels))
                self.searching = found is None
                # Without objects, not searched again when this frame is segmented.
                self.zoom = self.segmenter.settings.preprocessing.scale if found is None else found
        return image, self.zoom

    def segment(self, image: ImageSource, zoom: float | None) -> tuple[Segmentation, Floats]:
        """Segments of an admitted image and their lines; called by several threads."""
        pixels = self._read(image)
        found, maps = self.segmenter.segment_prepared(pixels, self.segmenter.prepare(pixels), zoom)
        return found, segment_lines(
            found.labels, maps.index.cpu().numpy(), maps.modes.cpu().numpy()
        )

    def _read(self, image: ImageSource) -> NDArray[Any]:
        pixels = read_image(image)
        if self.size is not None and pixels.shape[:2] != self.size:
            (height, width), (first_height, first_width) = pixels.shape[:2], self.size
            raise InputError(
                f"size {width}x{height} differs from that of the first, {first_width}x"
                f"{first_height}; begin another stream for it"
            )
        return pixels


def stream(
    segmenter: Segmenter,
    frames: Iterable[ImageSource],
    *,
    workers: int = 2,
    memory: int = 8,
    fixed_zoom: bool = True,
) -> Iterator[TrackedFrame]:
    """See `Segmenter.stream`."""
    if isinstance(frames, str | os.PathLike | bytes) or not isinstance(frames, Iterable):
        raise InputError(
            f"frames: expected an iterable of images, got {type(frames).__name__}; for a video's "
            "frames see docs/video.md"
        )
    if workers < 1:
        raise InputError(f"workers must be at least 1, got {workers}")
    settings = segmenter.settings
    tracker = Tracker(
        settings.clustering.bandwidth_deg,
        memory,
        lines_are_places=settings.architecture.position_scale is not None,
    )
    return _run(_Schedule(segmenter, fixed_zoom), frames, workers, tracker)


def _run(
    schedule: _Schedule, frames: Iterable[ImageSource], workers: int, tracker: Tracker
) -> Iterator[TrackedFrame]:
    pool = ThreadPoolExecutor(workers, thread_name_prefix="bottomup-stream")
    try:
        submitted = _submit(schedule, frames, pool)
        pending = deque(islice(submitted, workers + 1))
        for number in count():
            if not pending:
                return
            segmentation, lines = _result(pending.popleft(), number)
            ids = tracker.update(segmentation.labels, lines)
            yield TrackedFrame(number, segmentation, ids)
            pending.extend(islice(submitted, 1))
    finally:
        pool.shutdown(cancel_futures=True)


def _submit(
    schedule: _Schedule, frames: Iterable[ImageSource], pool: ThreadPoolExecutor
) -> Iterator[_Work]:
    """One piece of work for each frame, begun; an error of the source is the last one's."""
    try:
        for image in frames:
            yield pool.submit(schedule.segment, *schedule.admit(image))
    except Exception as error:
        failed: _Work = Future()
        failed.set_exception(error)
        yield failed


def _result(work: _Work, number: int) -> tuple[Segmentation, Floats]:
    try:
        return work.result()
    except InputError as error:
        raise InputError(f"frame {number}: {error}") from error
    except Exception as error:
        error.add_note(f"frame {number} of the stream")
        raise
