"""ADE20K in full: every object of a photograph in a PNG beside it.

Layout: `images/ADE/training/SCENE/.../ADE_train_00000001.jpg` and `..._seg.png` (2021), or without
`ADE` (2016); validation likewise. In the PNG, R and G tell the class and B the object. Pixels with
B = 0 are unlabelled (0) and may hold anything. `_parts_` files, parts of objects, are not read.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from bottomup_fast.data.dataset import AnnotatedFiles, Annotation, Entry, Size
from bottomup_fast.data.label_maps import number_segments, read_png
from bottomup_fast.data.layout import first_folder, subfolders_of_split

_SEGMENTS = "_seg.png"


class Ade20k(AnnotatedFiles):
    """The images of a split ("train" or "val"), or of all."""

    def _entries(self, split: str | None) -> Iterable[Entry]:
        for folder in subfolders_of_split(first_folder(self.root, ("images/ADE", "images")), split):
            for image in sorted(folder.rglob("*.jpg")):
                segments = image.with_name(image.stem + _SEGMENTS)
                if segments.is_file():
                    yield Entry(image.stem, image, segments)
                else:
                    self._broken(f"{image}: no {segments.name} beside it")

    def _annotate(self, entry: Entry, size: Size) -> Annotation:
        red, green, blue = np.moveaxis(
            read_png(entry.annotation, size, modes=("RGB",)).astype(np.int32), -1, 0
        )
        # Above 255 objects numbers come again, but not in one class.
        objects = (blue << 16) + (red // 10 << 8) + green
        return Annotation(number_segments(np.where(blue > 0, objects, 0), entry.annotation))


def is_ade20k(root: Path) -> bool:
    """Whether a folder looks like this format."""
    folders = [root / "images" / part for part in ("ADE/training", "training", "ADE/validation")]
    folders.append(root / "images" / "validation")
    return any(True for folder in folders for _ in folder.rglob("*" + _SEGMENTS))
