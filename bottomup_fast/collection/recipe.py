"""What decides the segments of an image, so that results of two models are never mixed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from importlib.resources import as_file
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bottomup_fast
from bottomup_fast.settings import ModelSettings, Precision, Settings

if TYPE_CHECKING:
    from bottomup_fast.segmenter import Segmenter

_SHOWN = 3


class Recipe(Settings):
    """The same recipe gives the same segments of the same image.

    Attributes:
        package_version: of this package.
        file_sha256: digest of the model file.
        settings: the model's, with what the caller overrode.
        keep_background: as in `Segmenter`, like the next two.
        leave_outliers: label 0 for pixels far from every mode.
        tile_size: pixels.
        precision: of the network, as asked for.
    """

    package_version: str
    file_sha256: str
    settings: ModelSettings
    keep_background: bool
    leave_outliers: bool
    tile_size: int
    precision: Precision

    @classmethod
    def of(cls, segmenter: Segmenter, model: str) -> Recipe:
        """The recipe of a segmenter made from `model`, a bundled model's name or a file."""
        return cls(
            package_version=bottomup_fast.__version__,
            file_sha256=_model_digest(model),
            settings=segmenter.settings,
            keep_background=segmenter.keep_background,
            leave_outliers=segmenter.leave_outliers,
            tile_size=segmenter.tile_size,
            precision=segmenter.precision,
        )

    def digest(self) -> str:
        """SHA-256 of the recipe, in hexadecimal."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    def difference(self, now: Recipe) -> str:
        """Say where `now` differs from this one; empty where it does not."""
        then, new = dict(_flat(self.model_dump())), dict(_flat(now.model_dump()))
        changed = [
            key for key in [*then, *(new.keys() - then.keys())] if then.get(key) != new.get(key)
        ]
        shown = [f"{key} {_brief(then.get(key))}, now {_brief(new.get(key))}" for key in changed]
        more = f"; and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
        return "; ".join(shown[:_SHOWN]) + more


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _model_digest(model: str) -> str:
    from bottomup_fast.models.weights import BUNDLED_MODELS

    path = Path(model)
    if path.suffix == ".safetensors":
        return file_digest(path)
    with as_file(BUNDLED_MODELS) as bundled:
        return file_digest(bundled / f"{model}.safetensors")


def _flat(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _brief(value: object) -> str:
    text = str(value)
    return text if len(text) <= 32 else f"{text[:12]}..."
