"""Cellpose: an image and a label map of its cells side by side.

Layout: `train/000_img.png` and `train/000_masks.png` (test likewise), or, as Cellpose saves them,
`NAME.tif` and `NAME_masks.tif` or `NAME_cp_masks.png`. Every cell is annotated, so 0 is background.
`NAME_seg.npy` is a pickle and never loaded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import ClassVar

from bottomup_fast.data.dataset import AnnotatedFiles, Annotation, Background, Entry, Size
from bottomup_fast.data.label_maps import number_segments, read_label_file
from bottomup_fast.data.layout import folders_with, images_by_stem
from bottomup_fast.errors import InputError

_MASKS = ("_cp_masks", "_masks")
_IMAGE = "_img"
_PICKLE = "_seg.npy"


class Cellpose(AnnotatedFiles):
    """The images of a split ("train" or "test"), or of all."""

    default_background: ClassVar[Background] = "complete"

    def _entries(self, split: str | None) -> Iterable[Entry]:
        for folder in folders_with(self.root, split, _is_part):
            prefix = "" if folder == self.root else f"{folder.name}/"
            files = images_by_stem(folder)
            masks = _masks(files)
            for name, path in masks.items():
                image = files.get(f"{name}_img") or files.get(name)
                if image is None:
                    self._broken(f"{path}: no image {name}_img or {name} beside it")
                else:
                    yield Entry(prefix + name, image, path)
            pickles = {_name(path.name, _PICKLE): path for path in folder.glob("*" + _PICKLE)}
            images = {
                _name(stem, ""): path for stem, path in files.items() if stem.endswith(_IMAGE)
            }
            for name in sorted((pickles | images).keys() - masks.keys()):
                if name in pickles:
                    reason = "a pickle, which is never loaded; save the masks as PNG or TIFF"
                    self._broken(f"{pickles[name]}: {reason}")
                else:
                    self._broken(f"{images[name]}: no masks beside it")

    def _annotate(self, entry: Entry, size: Size) -> Annotation:
        labels = read_label_file(entry.annotation, size)
        return Annotation(number_segments(labels, entry.annotation))


def is_cellpose(root: Path) -> bool:
    """Whether a folder looks like this format."""
    return any(_is_part(folder) for folder in (root, root / "train", root / "test"))


def _is_part(folder: Path) -> bool:
    return any(True for end in ("*_masks.*", "*" + _PICKLE) for _ in folder.glob(end))


def _name(stem: str, end: str) -> str:
    return stem.removesuffix(end).removesuffix(_IMAGE)


def _masks(files: Mapping[str, Path]) -> dict[str, Path]:
    """Label maps by the name of their image."""
    masks: dict[str, Path] = {}
    for stem, path in files.items():
        end = next((end for end in _MASKS if stem.endswith(end)), None)
        if end is None:
            continue
        if (name := _name(stem, end)) in masks:
            raise InputError(f"{path}: of the same image as {masks[name].name}")
        masks[name] = path
    return masks
