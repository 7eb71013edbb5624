"""Whose an exported file is, by its metadata, readable without torch and pydantic."""

from __future__ import annotations

from collections.abc import Mapping

from bottomup_fast.errors import InputError

LAYOUT = "1"
"""Version of inputs, outputs and metadata; another one is refused."""
SETTINGS_KEY = "bottomup_fast"


def check_origin(name: str, metadata: Mapping[str, str], format: str) -> None:
    """Raise InputError, naming the file, for one of another program, version or format."""
    if SETTINGS_KEY not in metadata or "layout" not in metadata:
        raise InputError(f"{name}: no metadata of `bottomup export`; export the model again")
    layout, stated = metadata["layout"], metadata.get("format")
    if layout != LAYOUT:
        raise InputError(
            f"{name}: written in layout {layout}, this version reads {LAYOUT}; "
            "export the model again with this version"
        )
    if stated != format:
        raise InputError(f"{name}: an export to {stated}, not to {format}; export the model again")


def fixed_sides(metadata: Mapping[str, str]) -> tuple[int, ...]:
    """The sides in pixels that a file is made for.

    Raises:
        KeyError: they are missing.
        ValueError: they are no positive integers.
    """
    text = metadata["fixed_resolutions"]
    sides = tuple(int(side) for side in text.split(",") if side)
    if min(sides, default=1) < 1:
        raise ValueError(f"fixed_resolutions {text} are not sides")
    return sides
