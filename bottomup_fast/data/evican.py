"""EVICAN: some cells and nuclei of microscope images as polygons, and images of none.

Layout: `annotations/instances_train2019_EVICAN2.json` (val2019, eval2019_easy, eval2019_medium,
eval2019_difficult), images in `images/EVICAN_train2019` and so on. Not every cell is annotated, so
0 may hold cells; but an image named "Background" without annotations holds none. A nucleus lies in
its cell: the masks overlap, and the label map shows the nucleus on top.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bottomup_fast.data.coco import CocoDataset
from bottomup_fast.data.dataset import Annotation, Entry, Size
from bottomup_fast.data.layout import annotation_files, file_of_split, first_folder

_FILES = ["instances_*EVICAN2*.json"]


class Evican(CocoDataset):
    """The images of one annotation file, by its split ("train", "val", "easy", ...)."""

    def _files_of_split(self, split: str | None) -> Iterable[tuple[Path, Path]]:
        path = file_of_split(self.root, annotation_files(self.root, _FILES), split)
        part = path.stem.split("_")[1]
        parts = [f"{folder}{name}" for folder in _IMAGES for name in (f"EVICAN_{part}", part)]
        yield path, first_folder(self.root, (*parts, *(name for name in _IMAGES if name)))

    def _annotate(self, entry: Entry, size: Size) -> Annotation:
        annotation = super()._annotate(entry, size)
        if not annotation.masks and "background" in entry.name.lower():
            return annotation._replace(background="complete")
        return annotation


_IMAGES = ("images/", "Images/", "")


def is_evican(root: Path) -> bool:
    """Whether a folder looks like this format."""
    return bool(annotation_files(root, _FILES))
