"""Small networks with random weights whose features differ from pixel to pixel."""

from __future__ import annotations

from typing import Any

import torch

from bottomup_fast.models.network import BottomUpNetwork
from bottomup_fast.models.weights import build_network
from bottomup_fast.settings import ModelSettings


def tiny_settings(
    foreground: bool = False, position_scale: float | None = None, **parts: Any
) -> ModelSettings:
    preprocessing = parts.get("preprocessing", {})
    scale = None if "resolutions" in preprocessing else 1.0
    return ModelSettings.model_validate(
        {
            "name": "tiny",
            "architecture": {
                "name": "bottomup_efficientnet_lite0",
                "feature_dim": 8,
                "foreground": foreground,
                "position_scale": position_scale,
            },
            "preprocessing": {"scale": scale, **preprocessing},
            "clustering": parts.get("clustering", {}),
        }
    )


def random_network(chosen: ModelSettings) -> BottomUpNetwork:
    torch.manual_seed(0)
    network = build_network(chosen)
    with torch.no_grad():  # freshly made, it gives all pixels nearly the same feature
        for layer in network.decoder.modules():
            if isinstance(layer, torch.nn.Conv2d):
                layer.weight.mul_(2)
                if layer.bias is not None:
                    layer.bias.zero_()
    network.settings = chosen
    return network.eval()
