"""ADE20K for scene parsing (`ADEChallengeData2016`): maps of 150 classes, without objects.

Layout: `images/training/ADE_train_00000001.jpg`, `annotations/training/ADE_train_00000001.png`;
validation likewise. The entities are the connected regions (of 8 neighbours) of each class. Class 0
is everything else: unlabelled (0), it may hold anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from bottomup_fast.components import split_components
from bottomup_fast.data.dataset import AnnotatedFiles, Annotation, Entry, Size
from bottomup_fast.data.label_maps import read_png
from bottomup_fast.data.layout import images_by_stem, subfolders_of_split


class Ade20kSceneParsing(AnnotatedFiles):
    """The images of a split ("train" or "val"), or of all."""

    def _entries(self, split: str | None) -> Iterable[Entry]:
        for folder in subfolders_of_split(self.root / "annotations", split):
            images = images_by_stem(self.root / "images" / folder.name)
            for name, image in images.items():
                yield Entry(name, image, folder / f"{name}.png")

    def _annotate(self, entry: Entry, size: Size) -> Annotation:
        classes = read_png(entry.annotation, size, modes=("L", "P")).astype(np.int32)
        return Annotation(split_components(classes, connectivity=2))


def is_ade20k_scene_parsing(root: Path) -> bool:
    """Whether a folder looks like this format."""
    parts = ("training", "validation")
    return any(
        (root / "images" / part).is_dir() and any((root / "annotations" / part).glob("*.png"))
        for part in parts
    )
