"""SA-1B: one JSON of run-length coded masks, which may overlap, beside each photograph.

Layout: `sa_1.jpg` and `sa_1.json`, in one folder or in one for each archive (`sa_000000/`, whose
name is its split). Pixels of no mask (0) may hold anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import TypeAdapter

from bottomup_fast.data.coco import CocoSegment, Side, draw
from bottomup_fast.data.dataset import AnnotatedFiles, Annotation, Entry, Size
from bottomup_fast.data.json_files import Record, check, read_json
from bottomup_fast.data.layout import images_by_stem, subfolders_of_split
from bottomup_fast.errors import InputError


class _Picture(Record):
    width: Side
    height: Side


class _File(Record):
    image: _Picture
    annotations: tuple[CocoSegment, ...]


_FILE = TypeAdapter(_File)


class Sa1b(AnnotatedFiles):
    """The images of one archive's folder by its name, or of all."""

    def _entries(self, split: str | None) -> Iterable[Entry]:
        folders = (
            subfolders_of_split(self.root, split) if split is not None else _folders(self.root)
        )
        for folder in folders:
            for name, image in images_by_stem(folder).items():
                path = image.with_suffix(".json")
                if path.is_file():
                    yield Entry(name, image, path)
                else:
                    self._broken(f"{image}: no {path.name} beside it")

    def _annotate(self, entry: Entry, size: Size) -> Annotation:
        path: Path = entry.annotation
        content = check(_FILE, read_json(path), path)
        expected = content.image.height, content.image.width
        if size != expected:
            raise InputError(f"{path}: its image is {size}, not {expected} as it says")
        return draw(content.annotations, size, str(path))


def is_sa1b(root: Path) -> bool:
    """Whether a folder looks like this format."""
    return bool(_folders(root))


def _folders(root: Path) -> list[Path]:
    return sorted({path.parent for part in ("", "*/") for path in root.glob(f"{part}sa_*.json")})
