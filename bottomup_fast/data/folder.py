"""A folder of images with 16-bit label maps.

Layout: `images/NAME.(png|jpg|tif|...)`, `masks/NAME.png` (0 = unlabelled, 1..K = segments,
65535 = ignore), optional `split.txt` with lines "train<TAB>NAME", optional `meta.tsv` with a
`name` column and any others.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bottomup_fast.data.dataset import AnnotatedFiles, Annotation, Entry, Size
from bottomup_fast.data.label_maps import read_label_map
from bottomup_fast.data.layout import images_by_stem
from bottomup_fast.data.metadata import read_split
from bottomup_fast.errors import InputError


class FolderDataset(AnnotatedFiles):
    """Annotated images of a folder; what is unlabelled may hold objects unless said otherwise."""

    def _entries(self, split: str | None) -> Iterable[Entry]:
        for part in ("images", "masks"):
            if not (self.root / part).is_dir():
                raise InputError(f"{self.root}: no folder {part!r} in it")
        images = images_by_stem(self.root / "images")
        table = self.root / "split.txt"
        for name in images if split is None else read_split(table, split):
            if name in images:
                yield Entry(name, images[name], self.root / "masks" / f"{name}.png")
            else:
                self._broken(f"{table}: no image {name!r} in {self.root / 'images'}")

    def _annotate(self, entry: Entry, size: Size) -> Annotation:
        return Annotation(read_label_map(entry.annotation, size))


def is_folder(root: Path) -> bool:
    """Whether a folder looks like this format."""
    return (root / "images").is_dir() and any((root / "masks").glob("*.png"))
