"""All formats of annotated images by name, and which of them lies in a folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from bottomup_fast.data.ade20k import Ade20k, is_ade20k
from bottomup_fast.data.ade20k_scene_parsing import Ade20kSceneParsing, is_ade20k_scene_parsing
from bottomup_fast.data.cellpose import Cellpose, is_cellpose
from bottomup_fast.data.cihp import Cihp, is_cihp
from bottomup_fast.data.coco_instances import CocoInstances, is_coco_instances
from bottomup_fast.data.coco_panoptic import CocoPanoptic, is_coco_panoptic
from bottomup_fast.data.dataset import AnnotatedFiles, AnnotatedImages, Background, OnError
from bottomup_fast.data.entityseg import Entityseg, is_entityseg
from bottomup_fast.data.evican import Evican, is_evican
from bottomup_fast.data.folder import FolderDataset, is_folder
from bottomup_fast.data.livecell import Livecell, is_livecell
from bottomup_fast.data.sa1b import Sa1b, is_sa1b
from bottomup_fast.data.stardist import Stardist, is_stardist
from bottomup_fast.errors import InputError

FormatName: TypeAlias = Literal[
    "folder",
    "coco-panoptic",
    "coco-instances",
    "ade20k",
    "ade20k-scene-parsing",
    "cihp",
    "entityseg",
    "sa-1b",
    "evican",
    "livecell",
    "cellpose",
    "stardist",
]


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        dataset: reads it.
        detect: whether a folder looks like it.
    """

    dataset: type[AnnotatedFiles]
    detect: Callable[[Path], bool]


FORMATS: dict[str, Format] = {
    "folder": Format(FolderDataset, is_folder),
    "coco-panoptic": Format(CocoPanoptic, is_coco_panoptic),
    "coco-instances": Format(CocoInstances, is_coco_instances),
    "ade20k": Format(Ade20k, is_ade20k),
    "ade20k-scene-parsing": Format(Ade20kSceneParsing, is_ade20k_scene_parsing),
    "cihp": Format(Cihp, is_cihp),
    "entityseg": Format(Entityseg, is_entityseg),
    "sa-1b": Format(Sa1b, is_sa1b),
    "evican": Format(Evican, is_evican),
    "livecell": Format(Livecell, is_livecell),
    "cellpose": Format(Cellpose, is_cellpose),
    "stardist": Format(Stardist, is_stardist),
}


def open_dataset(
    root: str | os.PathLike[str],
    format: str = "auto",
    *,
    split: str | None = None,
    where: Mapping[str, str] | None = None,
    background: Background | None = None,
    on_error: OnError = "raise",
) -> AnnotatedImages:
    """Open a folder of annotated images.

    Args:
        root: the folder.
        format: one of `FORMATS`, or "auto" to tell it by what lies in the folder.
        split: as the format publishes it, mostly "train" or "val"; None for all images, or for the
            only split there is.
        where: keep only images whose `meta.tsv` columns have these values.
        background: what label 0 means, if not what the format says.
        on_error: "raise" an InputError on broken files, or "skip" them.

    Raises:
        InputError: unknown or ambiguous format, missing folders or files, unknown split or column,
            nothing left.
    """
    name = detect_format(root) if format == "auto" else format
    if name not in FORMATS:
        raise InputError(f"format: unknown {format!r}; expected auto, {', '.join(FORMATS)}")
    opened = FORMATS[name].dataset
    return opened(root, split, where, background=background, on_error=on_error)


def detect_format(root: str | os.PathLike[str]) -> str:
    """Name of the one format that a folder looks like.

    Raises:
        InputError: no such folder, none, or several.
    """
    path = Path(root)
    if not path.is_dir():
        raise InputError(f"{path}: no such folder")
    found = [name for name, known in FORMATS.items() if known.detect(path)]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"{path}: may be {' or '.join(found)}; say which format it is")
    raise InputError(f"{path}: none of the formats {', '.join(FORMATS)}")
