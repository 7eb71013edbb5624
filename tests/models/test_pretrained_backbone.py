from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from bottomup_fast.errors import InputError
from bottomup_fast.models.encoder import Encoder
from bottomup_fast.models.registry import create_model

Weights = dict[str, Tensor]


@pytest.fixture(scope="module")
def weights() -> Weights:
    """Of a whole classifier, as ImageNet weights come."""
    return timm.create_model("tf_efficientnet_lite0").state_dict()


@pytest.mark.parametrize("backbone", ["tf_efficientnet_lite0", "convnext_atto"])
def test_a_local_file_is_loaded_whole(tmp_path: Path, backbone: str) -> None:
    path = tmp_path / "backbone.safetensors"
    source = timm.create_model(backbone).state_dict()
    save_file(source, path)
    loaded = Encoder(backbone, path).backbone.state_dict()
    # timm's `stages.0` is `stages_0` in a model for features only.
    flat = {name.replace(".", "_"): value for name, value in source.items()}
    assert all(torch.equal(flat[name.replace(".", "_")], loaded[name]) for name in loaded)


def test_it_is_what_create_model_takes(tmp_path: Path, weights: Weights) -> None:
    save_file(weights, tmp_path / "b.safetensors")
    network = create_model(
        "bottomup_efficientnet_lite0", 16, pretrained_backbone=str(tmp_path / "b.safetensors")
    )
    stem = network.encoder.backbone.state_dict()["conv_stem.weight"]
    assert torch.equal(stem, weights["conv_stem.weight"])


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda w: {k: v for k, v in w.items() if k != "bn1.bias"}, "bn1.bias is missing"),
        (lambda w: w | {"bn1.bias": torch.zeros(7)}, r"bn1.bias has shape \(7,\)"),
    ],
)
def test_weights_that_do_not_fit_name_file_and_parameter(
    tmp_path: Path, weights: Weights, change: Callable[[Weights], Weights], problem: str
) -> None:
    path = tmp_path / "backbone.safetensors"
    save_file(change(weights), path)
    with pytest.raises(InputError, match=f"backbone.safetensors: {problem}"):
        Encoder("tf_efficientnet_lite0", path)


def test_another_backbones_weights_are_refused(tmp_path: Path, weights: Weights) -> None:
    save_file(weights, tmp_path / "lite0.safetensors")
    with pytest.raises(InputError, match=r"lite0.safetensors: stem_0.weight is missing"):
        Encoder("convnext_atto", tmp_path / "lite0.safetensors")


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "backbone.safetensors"
    with pytest.raises(InputError, match=r"backbone\.safetensors: not a readable safetensors"):
        Encoder("tf_efficientnet_lite0", path)
    path.write_bytes(b"not weights")
    with pytest.raises(InputError, match=r"backbone\.safetensors: not a readable safetensors"):
        Encoder("tf_efficientnet_lite0", path)
