"""Which images a collection has, and what the folder of each one's results is called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from bottomup_fast.errors import InputError

LIST_SUFFIX = ".txt"


@dataclass(frozen=True)
class Item:
    """An image, its name in reports, and the name of the folder of its results."""

    path: Path
    name: str
    folder: str


def find_items(source: Path, reserved: Collection[str] = ()) -> list[Item]:
    """The images directly in a folder, or those of a text file of paths, one a line.

    Paths in a list are relative to the list's own folder; a repeated one counts once. None of the
    results' folders is called one of the `reserved` names.

    Raises InputError if there is no image, the list is not UTF-8 text, or two images would share a
    folder.
    """
    if source.is_dir():
        from bottomup_fast.images import list_images

        paths = list_images(source)
        names = [path.name for path in paths]
    else:
        names = _lines(source)
        paths = [source.parent / name for name in names]
    if not paths:
        raise InputError(f"{source}: no images in it")
    folders = folder_names(names, reserved)
    owners = dict.fromkeys(reserved, "a report")
    for name, folder in zip(names, folders, strict=True):
        if folder in owners:
            raise InputError(f"{source}: {owners[folder]} and {name} would both be {folder}")
        owners[folder] = name
    return [Item(*item) for item in zip(paths, names, folders, strict=True)]


def folder_names(names: Sequence[str], reserved: Collection[str] = ()) -> list[str]:
    """The stem of each image; its file name where stems repeat, its path where these do."""
    paths = [Path(name) for name in names]
    taken = (".", "..", *reserved)
    stems = Counter([*(path.stem for path in paths), *taken])
    files = Counter([*(path.name for path in paths), *taken])
    return [
        path.stem
        if stems[path.stem] == 1
        else path.name
        if files[path.name] == 1
        else "_".join(part for part in path.parts if part not in ("/", ".."))
        for path in paths
    ]


def _lines(source: Path) -> list[str]:
    try:
        lines = source.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise InputError(f"{source}: not a list of paths in UTF-8") from None
    if any("\0" in line for line in lines):
        raise InputError(f"{source}: not a list of paths")
    return list(dict.fromkeys(line.strip() for line in lines if line.strip()))
