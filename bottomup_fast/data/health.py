"""The health of a data set: what is in it, what is odd, what is broken."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bottomup_fast.data.dataset import AnnotatedImages, Sample
from bottomup_fast.data.run_lengths import area
from bottomup_fast.overlay import Picture, draw_overlay

TINY = 16
"""Pixels below which a segment is counted as tiny: hardly annotated on purpose."""


@dataclass
class Health:
    """What was found in a data set.

    Attributes:
        images: that could be read.
        sizes: how many images have a size, by "HEIGHTxWIDTH", the most frequent first.
        segments: fewest, median, most and all segments of an image.
        tiny_segments: of less than `TINY` pixels.
        without_segments: names of images that have none.
        ignored: share of the pixels with label -1, in [0, 1].
        unlabelled: share of the pixels with label 0, in [0, 1].
        duplicates: groups of names of images with equal pixels.
        broken: one line for every broken file.
    """

    images: int = 0
    sizes: dict[str, int] = field(default_factory=dict)
    segments: dict[str, float] = field(default_factory=dict)
    tiny_segments: int = 0
    without_segments: list[str] = field(default_factory=list)
    ignored: float = 0.0
    unlabelled: float = 0.0
    duplicates: list[list[str]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Everything, as JSON can hold it."""
        return asdict(self)


def check_health(dataset: AnnotatedImages, samples: Iterable[Sample] | None = None) -> Health:
    """Read every image of a data set that was opened to skip broken files.

    Args:
        dataset: the data set.
        samples: its samples, if something is to be done with them on the way.

    Raises:
        InputError: a broken file, if the data set does not skip them.
    """
    health = Health()
    counts: list[int] = []
    by_pixels: dict[bytes, list[str]] = {}
    pixels = ignored = unlabelled = 0
    for sample in dataset if samples is None else samples:
        areas = segment_areas(sample)
        counts.append(len(areas))
        health.tiny_segments += int((areas < TINY).sum())
        if not len(areas):
            health.without_segments.append(sample.name)
        height, width = sample.labels.shape
        size = f"{height}x{width}"
        health.sizes[size] = health.sizes.get(size, 0) + 1
        pixels += sample.labels.size
        ignored += int((sample.labels < 0).sum())
        unlabelled += int((sample.labels == 0).sum())
        digest = hashlib.sha256(f"{size} {sample.image.dtype}".encode())
        digest.update(sample.image.tobytes())
        by_pixels.setdefault(digest.digest(), []).append(sample.name)
    health.images = len(counts)
    health.sizes = dict(sorted(health.sizes.items(), key=lambda item: (-item[1], item[0])))
    if counts:
        health.segments = {
            "fewest": min(counts),
            "median": float(np.median(counts)),
            "most": max(counts),
            "all": sum(counts),
        }
        health.ignored, health.unlabelled = ignored / pixels, unlabelled / pixels
    health.duplicates = [names for names in by_pixels.values() if len(names) > 1]
    health.broken = list(dataset.skipped)
    return health


def segment_areas(sample: Sample) -> NDArray[np.int64]:
    """Pixels of every annotated segment: of the whole mask where masks overlap."""
    if sample.masks is not None:
        return np.array([area(mask) for mask in sample.masks], np.int64)
    areas = np.unique(sample.labels[sample.labels > 0], return_counts=True)[1]
    return areas.astype(np.int64)


def draw_sample(sample: Sample) -> tuple[Picture, Picture]:
    """The image, and its segments on it; ignored pixels are darkened."""
    segments = draw_overlay(sample.image, sample.labels)
    segments[sample.labels < 0] //= 3
    return draw_overlay(sample.image, np.zeros_like(sample.labels), boundary=False), segments
