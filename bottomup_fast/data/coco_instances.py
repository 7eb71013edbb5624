"""COCO instances: objects of 80 classes as polygons or run lengths, which may overlap.

Layout: `annotations/instances_train2017.json` and `train2017/`, `val2017/` beside it (or all in
`images/`). Pixels of no object (0) may hold anything; crowds are ignored (-1).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bottomup_fast.data.coco import CocoDataset
from bottomup_fast.data.layout import annotation_files, file_of_split, first_folder


class CocoInstances(CocoDataset):
    """The images of one annotation file, by its split ("train", "val", "train2017", ...)."""

    def _files_of_split(self, split: str | None) -> Iterable[tuple[Path, Path]]:
        path = file_of_split(self.root, _annotation_files(self.root), split)
        yield path, coco_images(self.root, path.stem.removeprefix("instances_"))


def coco_images(root: Path, part: str) -> Path:
    """Folder of the images of a part of COCO, such as "val2017"; raises InputError without it."""
    return first_folder(root, (part, f"images/{part}", "images"))


def is_coco_instances(root: Path) -> bool:
    """Whether a folder looks like this format."""
    return bool(_annotation_files(root))


def _annotation_files(root: Path) -> list[Path]:
    files = annotation_files(root, ["instances_*.json"])
    return [path for path in files if "EVICAN" not in path.name]
