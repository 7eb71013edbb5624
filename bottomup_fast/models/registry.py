"""Architectures by name."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from dataclasses import dataclass

from bottomup_fast.errors import InputError
from bottomup_fast.models.network import BottomUpNetwork


@dataclass(frozen=True)
class Architecture:
    """A backbone and the width of the decoder on it."""

    backbone: str
    width: int
    description: str


ARCHITECTURES = {
    "bottomup_convnext_base": Architecture("convnext_base", 256, "the paper's network, 101 M"),
    "bottomup_convnext_tiny": Architecture("convnext_tiny", 128, "a quarter of it"),
    "bottomup_efficientnet_lite0": Architecture(
        "tf_efficientnet_lite0", 64, "for CPUs and embedded devices; the bundled models' size"
    ),
}


def create_model(
    name: str,
    feature_dim: int | None = None,
    pretrained_backbone: bool | str | os.PathLike[str] = False,
    *,
    foreground: bool = False,
    position_scale: float | None = None,
    largest_scale: float | None = None,
) -> BottomUpNetwork:
    """Build a network with random (or ImageNet) weights.

    Args:
        name: one of `ARCHITECTURES`.
        feature_dim: D; the default is the paper's 128, or the decoder's width where that is less.
        pretrained_backbone: True for the hub's ImageNet weights, or a local safetensors file.
        foreground: add the foreground channel.
        position_scale: make the features a `PositionCode` of this scale (pixels).
        largest_scale: make them a `ScaledPositionCode` of scales from that to this one (pixels).

    Raises:
        InputError: unknown name or a setting outside its range.
    """
    if name not in ARCHITECTURES:
        raise InputError(f"unknown architecture {name!r}{suggestion(name, ARCHITECTURES)}")
    architecture = ARCHITECTURES[name]
    return BottomUpNetwork(
        architecture.backbone,
        architecture.width,
        min(128, architecture.width) if feature_dim is None else feature_dim,
        foreground=foreground,
        position_scale=position_scale,
        largest_scale=largest_scale,
        pretrained_backbone=pretrained_backbone,
    )


def suggestion(name: str, known: Iterable[str]) -> str:
    """'; did you mean ...?' or the list of known names."""
    names = list(known)
    if close := difflib.get_close_matches(name, names, n=1):
        return f"; did you mean {close[0]!r}?"
    return f"; known are {', '.join(map(repr, names))}"
