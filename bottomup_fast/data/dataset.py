"""What every annotated collection of images gives, whatever the format of its files."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypedDict

from bottomup_fast.data.metadata import read_metadata
from bottomup_fast.errors import InputError
from bottomup_fast.images import read_image

Background: TypeAlias = Literal["unknown", "complete"]
OnError: TypeAlias = Literal["raise", "skip"]
Size: TypeAlias = tuple[int, int]
"""Height and width in pixels."""


class RunLengths(TypedDict):
    """COCO's compressed run-length code of a mask, as pycocotools makes it."""

    size: list[int]
    counts: bytes


@dataclass(frozen=True)
class Sample:
    """One annotated image.

    Attributes:
        name: file name without suffix; with its folders where the format has them.
        image: (H, W, 3) uint8 or uint16.
        labels: (H, W) int32: -1 ignore, 0 unlabelled, 1..K.
        metadata: the row of `meta.tsv`.
        masks: all annotated segments, where the format lets them overlap; `labels` then shows the
            smaller ones on top, mask i as label i + 1. None where `labels` says all.
        categories: class of each mask, where the format has classes.
        background: what label 0 means in this image, if not what it means in the others.
    """

    name: str
    image: NDArray[np.uint8] | NDArray[np.uint16]
    labels: NDArray[np.int32]
    metadata: Mapping[str, str]
    masks: tuple[RunLengths, ...] | None = None
    categories: tuple[str, ...] | None = None
    background: Background | None = None


class AnnotatedImages(Protocol):
    """Annotated images by position."""

    @property
    def root(self) -> Path:
        """The folder."""

    @property
    def names(self) -> Sequence[str]:
        """Of the samples, in order."""

    @property
    def metadata(self) -> Mapping[str, Mapping[str, str]]:
        """Rows of `meta.tsv` by name, if there is one."""

    @property
    def background(self) -> Background:
        """What label 0 means: "complete", it is background; "unknown", it may hold objects."""

    @property
    def skipped(self) -> Sequence[str]:
        """One line for every broken file met so far, if they are skipped."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample:
        """Return sample `index`; where broken files are skipped, the next one that is not."""

    def __iter__(self) -> Iterator[Sample]:
        """Yield every sample once; broken ones are left out where they are skipped."""

    def read(self, index: int, /) -> Sample:
        """Return sample `index`; raises InputError, naming the file, if it is broken."""


@dataclass(frozen=True)
class Entry:
    """Where one annotated image lies: its file, and whatever its format needs to annotate it."""

    name: str
    image: Path
    annotation: Any


class Annotation(NamedTuple):
    """What a format says about one image: fields of its `Sample`."""

    labels: NDArray[np.int32]
    masks: tuple[RunLengths, ...] | None = None
    categories: tuple[str, ...] | None = None
    background: Background | None = None


class AnnotatedFiles(ABC):
    """Base of all formats: a format finds the entries of a split and reads their annotation.

    Args:
        root: the folder.
        split: as the format publishes it, mostly "train" or "val"; None for all images, or for the
            only split there is.
        where: keep only images whose `meta.tsv` columns have these values.
        background: what label 0 means, if not what the format says.
        on_error: "raise" an InputError on broken files, or "skip" them, noted in `skipped`.

    Raises:
        InputError: missing folders or files, unknown split or column, nothing left; on access also
            for broken files.
    """

    default_background: ClassVar[Background] = "unknown"

    def __init__(
        self,
        root: str | os.PathLike[str],
        split: str | None = None,
        where: Mapping[str, str] | None = None,
        *,
        background: Background | None = None,
        on_error: OnError = "raise",
    ) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise InputError(f"{self.root}: no such folder")
        if on_error not in ("raise", "skip"):
            raise InputError(f"on_error: expected 'raise' or 'skip', got {on_error!r}")
        if background not in (None, "unknown", "complete"):
            raise InputError(f"background: expected 'unknown' or 'complete', got {background!r}")
        self.background: Background = background or self.default_background
        self.on_error = on_error
        self.skipped: list[str] = []
        self.metadata = read_metadata(self.root / "meta.tsv")
        entries = sorted(self._entries(split), key=lambda entry: entry.name)
        for column, value in (where or {}).items():
            if not any(column in row for row in self.metadata.values()):
                raise InputError(f"{self.root / 'meta.tsv'}: no column {column!r}")
            entries = [e for e in entries if self.metadata.get(e.name, {}).get(column) == value]
        if not entries:
            reason = f" ({self.skipped[0]})" if self.skipped else ""
            chosen = f"for split {split!r} and {dict(where or {})}"
            raise InputError(f"{self.root}: no images {chosen}{reason}")
        self._files = entries
        self.names = [entry.name for entry in entries]
        for first, second in pairwise(self.names):
            if first == second:
                raise InputError(f"{self.root}: two images are named {first!r}")

    @abstractmethod
    def _entries(self, split: str | None) -> Iterable[Entry]:
        """Find the images of a split."""

    @abstractmethod
    def _annotate(self, entry: Entry, size: Size) -> Annotation:
        """Read the annotation of an image of that size."""

    def _broken(self, reason: str) -> None:
        """Refuse a broken file, or take a note of it."""
        if self.on_error == "raise":
            raise InputError(reason)
        if reason not in self.skipped:
            self.skipped.append(reason)

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> Sample:
        """Return sample `index`; raises InputError, naming the file, if it is broken."""
        entry = self._files[index]
        image = read_image(entry.image)
        height, width = image.shape[:2]
        annotation = self._annotate(entry, (height, width))
        row = self.metadata.get(entry.name, {})
        return Sample(entry.name, image, metadata=row, **annotation._asdict())

    def __getitem__(self, index: int) -> Sample:
        if not -len(self) <= index < len(self):
            raise IndexError(f"index must be in 0..{len(self) - 1}, got {index}")
        for candidate in range(index, index + len(self)):
            if (sample := self._read_or_note(candidate % len(self))) is not None:
                return sample
        raise InputError(f"{self.root}: every image is broken; first {self.skipped[0]}")

    def __iter__(self) -> Iterator[Sample]:
        for index in range(len(self)):
            if (sample := self._read_or_note(index)) is not None:
                yield sample

    def _read_or_note(self, index: int) -> Sample | None:
        try:
            return self.read(index)
        except InputError as error:
            if self.on_error == "raise":
                raise
            self._broken(str(error))
            return None
