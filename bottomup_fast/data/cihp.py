"""CIHP: people in photographs, in parts (`Instance_ids`) or whole (`Human_ids`).

Layout: `Training/Images/0000006.jpg`, `Training/Instance_ids/0000006.png`,
`Training/Human_ids/0000006.png`; Validation likewise. Each number above 0 of a map is an entity: a
part of one person, or, where there are no `Instance_ids`, a person. What is no person is unlabelled
(0) and may hold anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bottomup_fast.data.dataset import AnnotatedFiles, Annotation, Entry, Size
from bottomup_fast.data.label_maps import number_segments, read_png
from bottomup_fast.data.layout import first_folder, images_by_stem, subfolders_of_split
from bottomup_fast.errors import InputError

_MAPS = ("Instance_ids", "Human_ids")


class Cihp(AnnotatedFiles):
    """The images of a split ("train" or "val"), or of all that are annotated."""

    def _entries(self, split: str | None) -> Iterable[Entry]:
        folders = subfolders_of_split(self.root, split)
        if split is None:
            folders = [folder for folder in folders if _is_part(folder)]
        if not folders:
            raise InputError(f"{self.root}: no folder with Images and {' or '.join(_MAPS)} in it")
        for folder in folders:
            maps = first_folder(folder, _MAPS)
            for name, image in images_by_stem(folder / "Images").items():
                yield Entry(f"{folder.name}/{name}", image, maps / f"{name}.png")

    def _annotate(self, entry: Entry, size: Size) -> Annotation:
        numbers = read_png(entry.annotation, size, modes=("L", "P", "I;16", "I"))
        return Annotation(number_segments(numbers, entry.annotation))


def is_cihp(root: Path) -> bool:
    """Whether a folder looks like this format."""
    return any(_is_part(root / part) for part in ("Training", "Validation"))


def _is_part(folder: Path) -> bool:
    return (folder / "Images").is_dir() and any((folder / part).is_dir() for part in _MAPS)
