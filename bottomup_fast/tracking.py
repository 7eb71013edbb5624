"""Segments of successive frames that are the same object: modes matched, places where they tie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array

from bottomup_fast.components import LabelMap, as_label_map
from bottomup_fast.errors import InputError

Ids = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _Region:
    """The pixels of a segment: a mask, the (y, x) in the image of its corner, and its centre."""

    mask: NDArray[np.bool_]
    corner: NDArray[np.intp]
    area: int
    centre: Floats


@dataclass(eq=False)
class _Track:
    """An object as last seen, and its motion per frame, (y, x) in pixels."""

    number: int
    line: Floats
    region: _Region
    velocity: Floats
    missing: int = 0

    def shift(self) -> Floats:
        """From where the object was seen to where it is expected now."""
        return self.velocity * (self.missing + 1)


class Tracker:
    """Gives the segments of successive frames ids that stay with their objects.

    A segment and a remembered object may be the same if their lines lie in one window and their
    places agree: the object's region, moved on as it last moved, overlaps the segment, or their
    centres are no farther apart than the object is wide. A line that only one object and one
    segment have needs no place. Of all one-to-one assignments the best is taken, by the sum of
    |cos|, IoU and nearness of the centres. What is left over among the segments is new and gets the
    next number; an object that is left over is remembered for `memory` frames and moves on.

    Args:
        bandwidth_deg: half opening angle of the window, degrees in (0, 90).
        memory: frames for which an object that is not seen keeps its id.
        lines_are_places: of a network with a position code, whose lines follow the object through
            the image. They then count in the sum, and have no window.

    Raises:
        InputError: an argument outside its range.
    """

    def __init__(
        self, bandwidth_deg: float = 45.0, memory: int = 8, lines_are_places: bool = False
    ) -> None:
        if not 0 < bandwidth_deg < 90:
            raise InputError(f"bandwidth_deg must be in (0, 90), got {bandwidth_deg}")
        if memory < 0:
            raise InputError(f"memory must not be negative, got {memory}")
        self.window = 0.0 if lines_are_places else float(np.cos(np.radians(bandwidth_deg)))
        self.memory = memory
        self.lines_are_places = lines_are_places
        self._tracks: list[_Track] = []
        self._next = 1

    def update(self, labels: NDArray[Any], lines: NDArray[Any]) -> Ids:
        """Ids of the next frame's segments.

        Args:
            labels: (H, W) integers, segments 1..n, all present, and 0 for background.
            lines: (n, D) unit lines of the segments, of either sign.

        Returns:
            (n,) positive int64, the id of segment i at i - 1. An id is never given twice.

        Raises:
            InputError: labels that are no such map, or not one finite line for each segment.
        """
        labels = as_label_map(labels, lowest=0)
        lines = np.asarray(lines, np.float64)
        count = int(labels.max())
        if lines.ndim != 2 or len(lines) != count or not np.isfinite(lines).all():
            raise InputError(f"lines must be {count} finite rows, got shape {lines.shape}")
        if any(track.line.shape != lines.shape[1:] for track in self._tracks):
            raise InputError(f"lines must have as many dimensions as before, got {lines.shape[1]}")
        regions = _regions(labels)
        matches = self._match(labels, lines, regions)
        motion = [
            (regions[segment].centre - track.region.centre) / (track.missing + 1)
            for segment, track in matches.items()
        ]
        usual = np.median(motion, axis=0) if motion else np.zeros(2)
        seen = [_Track(0, *known, usual) for known in zip(lines, regions, strict=True)]
        for (segment, track), moved in zip(matches.items(), motion, strict=True):
            seen[segment].number = track.number
            seen[segment].velocity = (track.velocity + moved) / 2
            self._tracks.remove(track)
        for track in seen:
            if not track.number:
                track.number, self._next = self._next, self._next + 1
        for track in self._tracks:
            track.missing += 1
        self._tracks = [track for track in self._tracks if track.missing <= self.memory] + seen
        return np.array([track.number for track in seen], np.int64)

    def _match(self, labels: LabelMap, lines: Floats, regions: list[_Region]) -> dict[int, _Track]:
        """The track of each segment that has one, by the segment's position."""
        tracks = self._tracks
        if not tracks or not regions:
            return {}
        cosine = np.abs(np.array([track.line for track in tracks]) @ lines.T)
        areas = np.array([region.area for region in regions])
        overlap = np.array([_overlap(track, labels, areas) for track in tracks])
        expected = np.array([track.region.centre + track.shift() for track in tracks])
        centres = np.array([region.centre for region in regions])
        distance = np.linalg.norm(expected[:, None] - centres, axis=-1)
        width = np.sqrt(4 / np.pi * np.array([track.region.area for track in tracks]))
        nearness = np.maximum(0, 1 - distance / width[:, None])
        similar = cosine >= self.window
        possible = similar & ((overlap > 0) | (nearness > 0))
        if not self.lines_are_places:
            possible |= similar & (similar.sum(0) == 1) & (similar.sum(1, keepdims=True) == 1)
        score = np.where(possible, cosine + overlap + nearness, 0)
        pairs = zip(*linear_sum_assignment(score, maximize=True), strict=True)
        return {int(segment): tracks[track] for track, segment in pairs if possible[track, segment]}


def segment_lines(labels: LabelMap, index: NDArray[Any], modes: NDArray[Any]) -> Floats:
    """Average line of each segment, from the modes of its pixels.

    One step of mean shift (eq. 10) from the mode that most of its pixels have, each pixel standing
    at its mode.

    Args:
        labels: (H, W) int32, segments 1..n and 0.
        index: (H, W) position of each pixel's mode, -1 for none.
        modes: (M, D) lines.

    Returns:
        (n, D) unit lines; zero for a segment without any mode.
    """
    count, size = int(labels.max()), max(1, len(modes))
    counted = (labels > 0) & (index >= 0)
    pair = (labels[counted].astype(np.int64) - 1) * size + index[counted]
    pairs, pixels = np.unique(pair, return_counts=True)
    segment, mode = np.divmod(pairs, size)
    commonest = np.zeros(count, np.int64)
    ascending = np.argsort(pixels, kind="stable")
    commonest[segment[ascending]] = mode[ascending]
    directions = np.asarray(modes, np.float64)
    weight = pixels * np.sum(directions[mode] * directions[commonest[segment]], axis=1)
    sums = csr_array((weight, (segment, mode)), shape=(count, len(modes))) @ directions
    length = np.linalg.norm(sums, axis=1, keepdims=True)
    lines: Floats = np.divide(sums, length, out=np.zeros_like(sums), where=length > 0)
    return lines


def _regions(labels: LabelMap) -> list[_Region]:
    regions = []
    for number, box in enumerate(find_objects(labels), 1):
        if box is None:
            raise InputError(f"labels: values up to {labels.max()} leave {number} out")
        mask = labels[box] == number
        corner = np.array([side.start for side in box])
        pixels = np.argwhere(mask)
        regions.append(_Region(mask, corner, len(pixels), corner + pixels.mean(0)))
    return regions


def _overlap(track: _Track, labels: LabelMap, areas: NDArray[Any]) -> Floats:
    """IoU of each segment with the track's, moved to where it is expected, within the image."""
    mask = track.region.mask
    corner = track.region.corner + np.rint(track.shift()).astype(np.intp)
    y0, x0 = np.maximum(corner, 0)
    y1, x1 = np.minimum(corner + mask.shape, labels.shape)
    if y0 >= y1 or x0 >= x1:
        return np.zeros(len(areas))
    inside = mask[y0 - corner[0] : y1 - corner[0], x0 - corner[1] : x1 - corner[1]]
    under = labels[y0:y1, x0:x1][inside]
    common = np.bincount(under, minlength=len(areas) + 1)[1:]
    iou: Floats = common / (len(under) + areas - common)
    return iou
