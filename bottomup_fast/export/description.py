"""What an exported file says about itself: text by name, readable without this package."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast, get_args

from pydantic import ValidationError

from bottomup_fast import __version__
from bottomup_fast.errors import InputError
from bottomup_fast.export.origin import LAYOUT, SETTINGS_KEY, check_origin, fixed_sides
from bottomup_fast.settings import ModelSettings

Format = Literal["onnx", "aoti", "tensorrt"]
Precision = Literal["float32", "float16", "bfloat16"]


@dataclass(frozen=True)
class Description:
    """An exported network.

    Attributes:
        settings: of the model; the normalisation by `mean` and `std` is part of the file.
        format: of the file.
        precision: of weights and activations; inputs and outputs are float32.
        resolutions: sides in pixels the file is made for: fixed if it is one, profiles if there
            are several; none: any multiple of 32.
        runtime: version of what compiled it, for formats that only run on their own version.
        device: "cpu", "cuda", or the compute capability such as "sm_89".
    """

    settings: ModelSettings
    format: Format
    precision: Precision = "float32"
    resolutions: tuple[int, ...] = ()
    runtime: str = ""
    device: str = "cpu"

    def to_metadata(self) -> dict[str, str]:
        """All of it as text."""
        preprocessing = self.settings.preprocessing
        architecture = self.settings.architecture
        return {
            SETTINGS_KEY: self.settings.model_dump_json(),
            "bottomup_fast_version": __version__,
            "layout": LAYOUT,
            "format": self.format,
            "precision": self.precision,
            "runtime": self.runtime,
            "device": self.device,
            "fixed_resolutions": _join(self.resolutions),
            "resolutions": _join(preprocessing.resolutions),
            "scale": "" if preprocessing.scale is None else str(preprocessing.scale),
            "feature_dim": str(architecture.feature_dim),
            "foreground": str(architecture.foreground).lower(),
            "position_code": str(architecture.position_scale is not None).lower(),
            "bandwidth_deg": str(self.settings.clustering.bandwidth_deg),
            "colour_order": "RGB",
            "input_range": "[0, 1]",
            "intensity": preprocessing.normalisation,
            "normalisation": "inside",
            "mean": _join(preprocessing.mean),
            "std": _join(preprocessing.std),
            "licence": self.settings.licence,
        }

    @classmethod
    def from_metadata(cls, name: str, metadata: Mapping[str, str], format: Format) -> Description:
        """Read what `to_metadata` wrote.

        Args:
            name: of the file, for errors.
            metadata: of the file.
            format: that the file must have.

        Raises:
            InputError: of another program, version or format.
        """
        check_origin(name, metadata, format)
        try:
            settings = ModelSettings.model_validate_json(metadata[SETTINGS_KEY])
            precision = cast(Precision, metadata["precision"])
            if precision not in get_args(Precision):
                raise ValueError(f"unknown precision {precision}")
            resolutions = fixed_sides(metadata)
            runtime, device = metadata["runtime"], metadata["device"]
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, ("settings", *first["loc"])))
            writer = metadata.get("bottomup_fast_version", "an unknown version")
            raise InputError(
                f"{name}: metadata: {place}: {first['msg']}; written by bottomup_fast {writer}, "
                f"this is {__version__}; export the model again"
            ) from error
        except (KeyError, ValueError) as error:
            reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise InputError(f"{name}: metadata: {reason}; export the model again") from error
        return cls(settings, format, precision, resolutions, runtime, device)


def parse_metadata(name: str, kind: str, text: bytes) -> dict[str, str]:
    """Read metadata that a file keeps as JSON.

    Args:
        name: of the file, for errors.
        kind: what the file should be, likewise.
        text: the JSON.

    Raises:
        InputError: it is not an object that holds text by name.
    """
    try:
        metadata = json.loads(text)
    except (ValueError, RecursionError):
        metadata = None
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise InputError(
            f"{name}: not {kind} of `bottomup export` (no metadata); export the model again"
        )
    return metadata


def _join(values: tuple[float, ...]) -> str:
    return ",".join(map(str, values))
