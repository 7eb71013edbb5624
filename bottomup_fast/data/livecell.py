"""LIVECell: every cell of a phase-contrast image as a polygon.

Layout, as downloaded: `annotations/LIVECell/livecell_coco_train.json` (val, test) and
`images/livecell_train_val_images`, `images/livecell_test_images`, with or without a folder for each
cell line. Every cell is annotated, so 0 is background; crowds are ignored (-1).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from bottomup_fast.data.coco import CocoDataset
from bottomup_fast.data.dataset import Background
from bottomup_fast.data.layout import annotation_files, file_of_split, first_folder

_FILES = ["livecell_coco_*.json"]


class Livecell(CocoDataset):
    """The images of one annotation file, by its split ("train", "val" or "test")."""

    default_background: ClassVar[Background] = "complete"

    def _files_of_split(self, split: str | None) -> Iterable[tuple[Path, Path]]:
        path = file_of_split(self.root, annotation_files(self.root, _FILES), split)
        part = "livecell_test_images" if "test" in path.stem else "livecell_train_val_images"
        yield path, first_folder(self.root, (f"images/{part}", part, "images"))


def is_livecell(root: Path) -> bool:
    """Whether a folder looks like this format."""
    return bool(annotation_files(root, _FILES))
