"""Encoder: any timm backbone that can give feature maps."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import timm
from safetensors.torch import load_file
from torch import Tensor, nn

from bottomup_fast.errors import InputError

STRIDES = (4, 8, 16, 32)


class Encoder(nn.Module):
    """Feature maps at strides 4, 8, 16 and 32 of a timm backbone.

    Args:
        backbone: a timm model name that supports `features_only`.
        pretrained: True for the hub's weights, or a local `.safetensors` file with the backbone's
            parameters by timm's names (a classifier's extra parameters are ignored).

    Raises:
        InputError: unknown backbone, missing strides, or weights that do not fit.
    """

    def __init__(self, backbone: str, pretrained: bool | str | os.PathLike[str] = False) -> None:
        super().__init__()
        if not timm.is_model(backbone):
            raise InputError(f"backbone {backbone!r} is not a timm model")
        try:
            full = timm.create_model(backbone, pretrained=pretrained is True, features_only=True)
        except Exception as error:  # no feature maps, or no weights: hubs raise all sorts
            raise InputError(f"backbone {backbone!r}: {' '.join(str(error).split())}") from error
        info: Any = full.feature_info
        reductions = info.reduction()
        if missing := [stride for stride in STRIDES if stride not in reductions]:
            raise InputError(f"backbone {backbone!r} has no features at stride {missing[0]}")
        indices = tuple(reductions.index(stride) for stride in STRIDES)
        self.channels: tuple[int, ...] = tuple(info.channels()[i] for i in indices)
        self.backbone = full
        self.indices = indices
        if not isinstance(pretrained, bool):
            load_backbone(self.backbone, Path(pretrained))

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) with H, W multiples of 32 to four maps, finest first."""
        maps = self.backbone(images)
        return [maps[i] for i in self.indices]


def load_backbone(backbone: nn.Module, path: Path) -> None:
    """Load a backbone's parameters from a safetensors file, every one of them strictly."""
    try:
        weights = load_file(path)
    except Exception as error:
        raise InputError(
            f"pretrained backbone {path}: not a readable safetensors file ({error})"
        ) from error
    wanted = backbone.state_dict()
    # timm renames `stages.0` to `stages_0` and the like when it wraps a model for features only.
    flat = {name.replace(".", "_"): tensor for name, tensor in weights.items()}
    chosen = {}
    for name, current in wanted.items():
        found = flat.get(name.replace(".", "_"))
        if found is None or found.shape != current.shape:
            what = "is missing" if found is None else f"has shape {tuple(found.shape)}"
            raise InputError(f"pretrained backbone {path}: {name} {what}")
        chosen[name] = found
    backbone.load_state_dict(chosen)
