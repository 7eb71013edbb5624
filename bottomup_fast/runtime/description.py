"""What an exported file says about itself, read without torch and pydantic."""

from __future__ import annotations

import json
from collections.abc import Mapping

from bottomup_fast.errors import InputError
from bottomup_fast.export.origin import SETTINGS_KEY, check_origin, fixed_sides
from bottomup_fast.runtime.module import native


def settings_and_sides(
    path: str, metadata: Mapping[str, str], format: str
) -> tuple[str, tuple[int, ...]]:
    """The settings of an exported file for who uses it, and the sides it is made for.

    Args:
        path: of the file, for errors.
        metadata: of the file, as `bottomup_fast.export.Description` writes it.
        format: that the file must have, "onnx" or "aoti".

    Returns:
        the model's settings, JSON, with a mean of 0 and a deviation of 1, as the file normalises
        images itself; and sides in pixels, ascending, none for any multiple of 32.

    Raises:
        InputError: of another program, version or format.
    """
    check_origin(path, metadata, format)
    try:
        settings = json.loads(metadata[SETTINGS_KEY])
        settings["preprocessing"] |= {"mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]}
        sides = fixed_sides(metadata)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        raise InputError(
            f"{path}: metadata: settings are not a model's ({reason}); export the model again"
        ) from error
    text = json.dumps(settings)
    try:
        native.check_settings(text, f"{path}: metadata")
    except InputError as error:
        writer = metadata.get("bottomup_fast_version", "an unknown version")
        raise InputError(
            f"{error}; written by bottomup_fast {writer}, this is {native.version}; export the "
            "model again"
        ) from error
    return text, sides
