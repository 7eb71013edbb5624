"""EntitySeg: photographs of which every entity is a run-length coded mask, without classes.

Layout: `annotations/entity_segmentation/entityv2_01_entity_train.json` (02, 03, all three as
010203, and val), or the release's `entityseg_insseg_train_*.json`; `images/` with a folder for each
of the three archives. Pixels of no entity (0) may hold anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bottomup_fast.data.coco import CocoDataset
from bottomup_fast.data.layout import annotation_files, files_of_split, first_folder
from bottomup_fast.errors import InputError

_FILES = ["entityv2_*.json", "entityseg_insseg_*.json"]
_ALL_PARTS = "010203"


class Entityseg(CocoDataset):
    """The images of a split ("train" or "val"): of its file of all parts, or of each part's."""

    def _files_of_split(self, split: str | None) -> Iterable[tuple[Path, Path]]:
        files = files_of_split(self.root, annotation_files(self.root, _FILES), split)
        files = [path for path in files if _ALL_PARTS in path.stem] or files
        if split is None and len(files) > 1:
            known = ", ".join(path.name for path in files)
            raise InputError(f"{self.root}: say which split; it has {known}")
        folder = first_folder(self.root, ("images",))
        for path in files:
            yield path, folder


def is_entityseg(root: Path) -> bool:
    """Whether a folder looks like this format."""
    return bool(annotation_files(root, _FILES))
