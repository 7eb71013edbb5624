"""What a training configuration says about the images it draws from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from bottomup_fast.data.dataset import AnnotatedImages, Background, OnError
from bottomup_fast.data.formats import FormatName, open_dataset
from bottomup_fast.settings import Positive, Settings


class DatasetSource(Settings):
    """Annotated images of any of the formats of `data.formats`.

    Attributes:
        kind: name of the format.
        path: a folder; one that is not there is looked for in the folder given by the environment
            variable BOTTOMUP_DATA, or else in `../shared/data`.
        split: as the format publishes it, mostly "train" or "val".
        where: `meta.tsv` columns that must have these values.
        background: whether unlabelled pixels are all background ("complete") or may hold objects
            ("unknown"); None for what the format says.
        on_error: whether broken files end the training ("raise") or are left out ("skip").
        weight: how often it is drawn, relative to the other sources.
    """

    kind: FormatName
    path: Path
    split: str | None = None
    where: Mapping[str, str] = {}
    background: Background | None = None
    on_error: OnError = "raise"
    weight: Positive = 1.0

    def open(self) -> AnnotatedImages:
        """Open the data set; raises InputError as `open_dataset` does."""
        return open_dataset(
            data_path(self.path),
            self.kind,
            split=self.split,
            where=self.where,
            background=self.background,
            on_error=self.on_error,
        )


class ShapesSource(Settings):
    """Procedural scenes of `data.shapes`; a "background" backdrop is known to hold no object."""

    kind: Literal["shapes"]
    size: Annotated[int, Field(ge=1)] = 256
    max_shapes: Annotated[int, Field(ge=1)] = 40
    backdrop: Literal["entity", "background"] = "entity"
    weight: Positive = 1.0


Source: TypeAlias = Annotated[DatasetSource | ShapesSource, Field(discriminator="kind")]


def data_path(path: Path) -> Path:
    """Where the data path of a configuration lies; see `DatasetSource`."""
    return path if path.exists() else Path(os.environ.get("BOTTOMUP_DATA", "../shared/data")) / path
