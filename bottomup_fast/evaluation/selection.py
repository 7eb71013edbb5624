"""Which annotated images an evaluation takes, read one by one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bottomup_fast.data.dataset import AnnotatedImages, Sample
from bottomup_fast.data.json_files import read_json
from bottomup_fast.errors import InputError

SA1B_IMAGES = 1000
SA1B_DENSE_IMAGES = 500


@dataclass(frozen=True)
class Part:
    """Some images of a data set.

    Attributes:
        images: the data set.
        chosen: their positions.
        group: column and value to add to their metadata.
    """

    images: AnnotatedImages
    chosen: Sequence[int]
    group: tuple[str, str] | None = None


class Selection:
    """Images of one or more data sets, by position.

    Args:
        parts: in their order.
        limit: take at most so many images, evenly spaced.
    """

    def __init__(self, parts: Sequence[Part], limit: int | None = None) -> None:
        every = [(part, index) for part in parts for index in part.chosen]
        count = min(limit or len(every), len(every))
        self._places = [every[position * len(every) // count] for position in range(count)]

    def __len__(self) -> int:
        return len(self._places)

    def name(self, position: int) -> str:
        """Name of an image, which is not read."""
        part, index = self._places[position]
        return part.images.names[index]

    def read(self, position: int) -> Sample:
        """Read an image; raises InputError, naming the file, if it is broken."""
        part, index = self._places[position]
        sample = part.images.read(index)
        if part.group is None:
            return sample
        return replace(sample, metadata={**sample.metadata, part.group[0]: part.group[1]})


def first_by_number(images: AnnotatedImages) -> list[int]:
    """Positions of the first 1000 images by the number in their names."""
    return _by_number(images)[:SA1B_IMAGES]


def most_objects(images: AnnotatedImages) -> list[int]:
    """Positions of the 500 images with the most annotated objects, ties by number."""
    annotations = {path.stem: path for path in images.root.rglob("*.json")}

    def objects(index: int) -> int:
        path = annotations.get(images.names[index])
        return _annotated(images, index) if path is None else _recorded(path)

    return sorted(_by_number(images), key=objects, reverse=True)[:SA1B_DENSE_IMAGES]


def _by_number(images: AnnotatedImages) -> list[int]:
    def number(index: int) -> tuple[int, str]:
        digits = re.findall(r"\d+", images.names[index])
        return int(digits[-1]) if digits else 0, images.names[index]

    return sorted(range(len(images)), key=number)


def _recorded(path: Path) -> int:
    """Annotations in a file of SA-1B: much faster than reading its image too; 0 if it is broken."""
    try:
        content = read_json(path)
    except InputError:
        return 0
    records = content.get("annotations") if isinstance(content, dict) else None
    return len(records) if isinstance(records, list) else 0


def _annotated(images: AnnotatedImages, index: int) -> int:
    try:
        sample = images.read(index)
    except InputError:
        return 0
    return int(sample.labels.max()) if sample.masks is None else len(sample.masks)
