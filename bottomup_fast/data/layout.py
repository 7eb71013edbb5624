"""Finding the files of a data set."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

from bottomup_fast.errors import InputError
from bottomup_fast.images import list_images


def images_by_stem(folder: Path) -> dict[str, Path]:
    """Images directly in a folder by their name without suffix.

    Raises:
        InputError: no such folder, or two images of one name.
    """
    images: dict[str, Path] = {}
    for path in list_images(folder):
        if path.stem in images:
            raise InputError(f"{path}: of the same name as {images[path.stem].name}")
        images[path.stem] = path
    return images


class FilesBelow:
    """The files of a folder and the folders in it, to be found by the end of their path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._by_name: dict[str, list[Path]] = {}
        for parent, _, names in os.walk(folder):
            for name in names:
                self._by_name.setdefault(name, []).append(Path(parent, name))

    def find(self, name: str) -> Path | None:
        """The one file of that name; None without it.

        Raises:
            InputError: several of the name, in folders that it does not tell apart.
        """
        parts = PurePosixPath(name).parts
        found = self._by_name.get(parts[-1], []) if parts else []
        # Archives unpack into folders that the name does not know, but never out of those it does.
        found = [path for path in found if set(parts) <= set(path.parts)]
        if len(found) > 1:
            found = [path for path in found if path.parts[-len(parts) :] == parts]
            if len(found) != 1:
                raise InputError(f"{self.folder}: several files are named {parts[-1]!r}")
        return found[0] if found else None


def first_folder(root: Path, candidates: Iterable[str]) -> Path:
    """The first of some folders that is there.

    Raises:
        InputError: none is.
    """
    names = list(candidates)
    for name in names:
        if (root / name).is_dir():
            return root / name
    raise InputError(f"{root}: no folder {' or '.join(map(repr, names))} in it")


def subfolders_of_split(parent: Path, split: str | None) -> list[Path]:
    """Folders in a folder: all, or the one a split names, such as "val" does "validation".

    Raises:
        InputError: no such folder, no folder in it, or none for the split.
    """
    if not parent.is_dir():
        raise InputError(f"{parent}: no such folder")
    folders = sorted(path for path in parent.iterdir() if path.is_dir())
    if split is None:
        chosen = folders
    else:
        chosen = [path for path in folders if path.name.lower().startswith(split.lower())]
        exact = [path for path in chosen if path.name == split]
        chosen = exact or chosen
    if not chosen or (split is not None and len(chosen) > 1):
        known = ", ".join(path.name for path in folders) or "no folder"
        raise InputError(f"{parent}: no single folder for split {split!r}; it has {known}")
    return chosen


def folders_with(root: Path, split: str | None, is_part: Callable[[Path], bool]) -> list[Path]:
    """Folders of a split that hold annotated images: without one, the root or all in it that do.

    Raises:
        InputError: there is none.
    """
    if split is not None:
        return subfolders_of_split(root, split)
    folders = (
        [root] if is_part(root) else [path for path in sorted(root.iterdir()) if is_part(path)]
    )
    if not folders:
        raise InputError(f"{root}: neither annotated images nor a folder of them in it")
    return folders


def annotation_files(root: Path, patterns: Iterable[str]) -> list[Path]:
    """JSON files of some patterns in a folder, its `annotations` and the folders in those."""
    places = ("", "annotations/", "annotations/*/")
    found = {
        path for place in places for pattern in patterns for path in root.glob(place + pattern)
    }
    return sorted(path for path in found if path.is_file())


def files_of_split(root: Path, files: list[Path], split: str | None) -> list[Path]:
    """Of files such as `instances_train2017.json` those of a split, such as "train".

    Raises:
        InputError: none of them.
    """
    wanted = set(_words(split)) if split is not None else set()
    chosen = [path for path in files if path.stem == split]
    chosen = chosen or [path for path in files if wanted <= set(_words(path.stem))]
    if not chosen:
        known = ", ".join(path.name for path in files) or "no annotation file"
        raise InputError(f"{root}: nothing for split {split!r}; it has {known}")
    return chosen


def file_of_split(root: Path, files: list[Path], split: str | None) -> Path:
    """The one file of a split; raises InputError if there is none or several."""
    chosen = files_of_split(root, files, split)
    if len(chosen) > 1:
        known = ", ".join(path.name for path in chosen)
        raise InputError(f"{root}: split {split!r} may be {known}; say which")
    return chosen[0]


def _words(name: str) -> list[str]:
    """Words of a name, also without the year at their end: "train2017" is "train" too."""
    words = re.split(r"[_\-.]", name.lower())
    return words + [word.rstrip("0123456789") for word in words]
