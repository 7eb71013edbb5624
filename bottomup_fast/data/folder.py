"""A folder of images with 16-bit label maps.

Layout: `images/NAME.(png|jpg|tif|...)`, `masks/NAME.png` (0 = unlabelled, 1..K = segments,
65535 = ignore), optional `split.txt` with lines "train<TAB>NAME", optional `meta.tsv` with a
`name` column and any others.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bottomup_fast.errors import InputError
from bottomup_fast.images import list_images, read_image

IGNORE_ON_DISK = 65535


@dataclass(frozen=True)
class Sample:
    """One annotated image.

    Attributes:
        name: file name without suffix.
        image: (H, W, 3) uint8 or uint16.
        labels: (H, W) int32: -1 ignore, 0 unlabelled, 1..K.
        metadata: the row of `meta.tsv`.
    """

    name: str
    image: NDArray[np.uint8] | NDArray[np.uint16]
    labels: NDArray[np.int32]
    metadata: Mapping[str, str]


class FolderDataset:
    """Annotated images of a folder, by position.

    Args:
        root: the folder.
        split: name in `split.txt`; None for all images.
        where: keep only images whose `meta.tsv` columns have these values.

    Raises:
        InputError: missing folders or files, unknown split or column, nothing left; on access also
            for masks that are not label maps or do not fit their image.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        split: str | None = None,
        where: Mapping[str, str] | None = None,
    ) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise InputError(f"{self.root}: no such folder")
        for part in ("images", "masks"):
            if not (self.root / part).is_dir():
                raise InputError(f"{self.root}: no folder {part!r} in it")
        self.paths = {path.stem: path for path in list_images(self.root / "images")}
        self.metadata = _read_metadata(self.root / "meta.tsv")
        names = sorted(self.paths) if split is None else self._names_of_split(split)
        for column, value in (where or {}).items():
            if not any(column in row for row in self.metadata.values()):
                raise InputError(f"{self.root / 'meta.tsv'}: no column {column!r}")
            names = [name for name in names if self.metadata.get(name, {}).get(column) == value]
        if not names:
            raise InputError(f"{self.root}: no images for split {split!r} and {dict(where or {})}")
        self.names = names

    def _names_of_split(self, split: str) -> list[str]:
        path = self.root / "split.txt"
        if not path.is_file():
            raise InputError(f"{path}: missing, but split {split!r} was asked for")
        rows = [line.split("\t") for line in path.read_text().splitlines() if line.strip()]
        if any(len(row) != 2 for row in rows):
            raise InputError(f"{path}: lines must be 'split<TAB>name'")
        names = sorted(name for part, name in rows if part == split)
        if not names:
            known = ", ".join(sorted({part for part, _ in rows}))
            raise InputError(f"{path}: no split {split!r}; it has {known}")
        if missing := [name for name in names if name not in self.paths]:
            raise InputError(f"{path}: no image {missing[0]!r} in {self.root / 'images'}")
        return names

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        name = self.names[index]
        path = self.root / "masks" / f"{name}.png"
        image = read_image(self.paths[name])
        labels = read_label_map(path)
        if labels.shape != image.shape[:2]:
            raise InputError(f"{path}: {labels.shape}, but its image is {image.shape[:2]}")
        return Sample(name, image, labels, self.metadata.get(name, {}))


def read_label_map(path: str | os.PathLike[str]) -> NDArray[np.int32]:
    """A grey 8- or 16-bit PNG as (H, W) int32, 65535 read as -1.

    Raises:
        InputError: missing, truncated, or not a grey PNG.
    """
    try:
        with Image.open(path, formats=("PNG",)) as file:
            values = np.asarray(file)
    except Exception as error:  # damaged files make a decoder raise nearly anything
        raise InputError(f"{path}: not a readable label map ({error})") from error
    if values.ndim != 2 or values.dtype == bool:
        raise InputError(f"{path}: a label map must be a grey 8- or 16-bit PNG")
    labels = values.astype(np.int32)
    labels[labels == IGNORE_ON_DISK] = -1
    return labels


def _read_metadata(path: Path) -> dict[str, dict[str, str]]:
    if not path.is_file():
        return {}
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    if rows and "name" not in rows[0]:
        raise InputError(f"{path}: no column 'name'")
    return {row["name"]: row for row in rows}
