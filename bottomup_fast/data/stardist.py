"""StarDist: a folder of images and one of label maps, mostly TIFF.

Layout: `train/images/NAME.tif` and `train/masks/NAME.tif` (test likewise), or `images/` and
`masks/` alone. Every object is annotated, so 0 is background.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from bottomup_fast.data.dataset import AnnotatedFiles, Annotation, Background, Entry, Size
from bottomup_fast.data.label_maps import number_segments, read_label_file
from bottomup_fast.data.layout import folders_with, images_by_stem


class Stardist(AnnotatedFiles):
    """The images of a split ("train" or "test"), or of all."""

    default_background: ClassVar[Background] = "complete"

    def _entries(self, split: str | None) -> Iterable[Entry]:
        for folder in folders_with(self.root, split, _is_part):
            prefix = "" if folder == self.root else f"{folder.name}/"
            masks = images_by_stem(folder / "masks")
            images = images_by_stem(folder / "images")
            for name, image in images.items():
                if name in masks:
                    yield Entry(prefix + name, image, masks[name])
                else:
                    self._broken(f"{image}: no label map {name!r} in {folder / 'masks'}")
            for name in sorted(masks.keys() - images.keys()):
                self._broken(f"{masks[name]}: no image {name!r} in {folder / 'images'}")

    def _annotate(self, entry: Entry, size: Size) -> Annotation:
        labels = read_label_file(entry.annotation, size)
        return Annotation(number_segments(labels, entry.annotation))


def is_stardist(root: Path) -> bool:
    """Whether a folder looks like this format."""
    return any(_is_part(folder) for folder in (root, root / "train", root / "test"))


def _is_part(folder: Path) -> bool:
    return (folder / "images").is_dir() and any((folder / "masks").glob("*.tif*"))
