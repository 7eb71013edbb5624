"""The optional tables beside the images: `meta.tsv` and `split.txt`."""

from __future__ import annotations

import csv
from itertools import pairwise
from pathlib import Path

from bottomup_fast.errors import InputError


def read_metadata(path: Path) -> dict[str, dict[str, str]]:
    """Rows of a tab-separated table by their column `name`; empty without the file.

    Raises:
        InputError: not UTF-8, ragged rows, no column `name`, or a name twice.
    """
    if not path.is_file():
        return {}
    try:
        rows = list(csv.reader(read_lines(path), delimiter="\t", strict=True))
    except csv.Error as error:
        raise InputError(f"{path}: not a tab-separated table ({error})") from error
    if not rows:
        return {}
    header, *rows = rows
    if "name" not in header:
        raise InputError(f"{path}: no column 'name'")
    table: dict[str, dict[str, str]] = {}
    for row in rows:
        if len(row) != len(header):
            raise InputError(f"{path}: {len(row)} cells in row {row[:1]}, expected {len(header)}")
        cells = dict(zip(header, row, strict=True))
        if cells["name"] in table:
            raise InputError(f"{path}: {cells['name']!r} is there twice")
        table[cells["name"]] = cells
    return table


def read_split(path: Path, split: str) -> list[str]:
    """Names of a split, sorted, from lines "split<TAB>name".

    Raises:
        InputError: missing, not UTF-8, another form, no such split, or a name twice in it.
    """
    if not path.is_file():
        raise InputError(f"{path}: missing, but split {split!r} was asked for")
    rows = [line.split("\t") for line in read_lines(path)]
    if any(len(row) != 2 for row in rows):
        raise InputError(f"{path}: lines must be 'split<TAB>name'")
    names = sorted(name for part, name in rows if part == split)
    if not names:
        known = ", ".join(sorted({part for part, _ in rows}))
        raise InputError(f"{path}: no split {split!r}; it has {known}")
    for first, second in pairwise(names):
        if first == second:
            raise InputError(f"{path}: {first!r} is there twice")
    return names


def read_lines(path: Path) -> list[str]:
    """Lines of a text file that are not blank; raises InputError if it is not UTF-8."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text ({error.reason})") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    return [line for line in text.split("\n") if line.strip()]
