from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import bottomup_fast as bf
from bottomup_fast.models.network import BottomUpNetwork
from bottomup_fast.segmenter import choose_device
from bottomup_fast.settings import ModelSettings


@pytest.fixture(scope="module")
def network() -> BottomUpNetwork:
    architecture = {"name": "bottomup_efficientnet_lite0", "feature_dim": 4}
    network = bf.create_model(**architecture)
    network.settings = ModelSettings.model_validate(
        {"name": "tiny", "architecture": architecture, "preprocessing": {"scale": 1.0}}
    )
    return network


def test_unknown_models(tmp_path: Path) -> None:
    with pytest.raises(bf.InputError, match=r"^unknown model 'celts'; did you mean 'cells'\?$"):
        bf.Segmenter("celts")
    with pytest.raises(bf.InputError, match=r"^unknown model 'celts'; did you mean 'cells'\?$"):
        bf.segment(np.zeros((4, 4), np.uint8), "celts")
    with pytest.raises(bf.InputError, match=r"^unknown model 'zzz'; known are .*'cells'"):
        bf.Segmenter("zzz")
    path = tmp_path / "missing.safetensors"
    with pytest.raises(bf.InputError, match=rf"^{re.escape(str(path))}: no such model file$"):
        bf.Segmenter(path)


def test_a_network_without_settings() -> None:
    network = bf.create_model("bottomup_efficientnet_lite0", feature_dim=4)
    with pytest.raises(bf.InputError, match=r"^model: the network has no settings"):
        bf.Segmenter(network)


@pytest.mark.parametrize("device", ["gpu", "", "cpu:x", "cuda:99", "mps", "xpu"])
def test_unknown_and_missing_devices(network: BottomUpNetwork, device: str) -> None:
    with pytest.raises(bf.InputError, match=r"^device: ") as caught:
        bf.Segmenter(network, device)
    assert "\n" not in str(caught.value)


def test_known_devices() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"scale": 1.0, "resolutions": (64,)}, r"^resolutions and scale: give one of them$"),
        ({"scale": 0.0}, r"^resolutions or scale: .*'scale': 0.0} is not possible$"),
        ({"scale": -1.0}, r"^resolutions or scale: .* is not possible$"),
        ({"scale": float("nan")}, r"^resolutions or scale: .* is not possible$"),
        ({"scale": float("inf")}, r"^resolutions or scale: .* is not possible$"),
        ({"resolutions": ()}, r"^resolutions or scale: {'resolutions': \(\), .* is not possible$"),
        ({"resolutions": (64, 64)}, r"^resolutions or scale: .*\(64, 64\).* is not possible$"),
        ({"resolutions": (128, 64)}, r"^resolutions or scale: .* is not possible$"),
        ({"resolutions": (16,)}, r"^resolutions or scale: .* is not possible$"),
        ({"tile_size": 31}, r"^tile_size must be at least 32, got 31$"),
        ({"tile_size": -5}, r"^tile_size must be at least 32, got -5$"),
    ],
)
def test_settings(network: BottomUpNetwork, arguments: dict[str, Any], reason: str) -> None:
    with pytest.raises(bf.InputError, match=reason):
        bf.Segmenter(network, "cpu", **arguments)


def test_images(network: BottomUpNetwork, tmp_path: Path) -> None:
    segmenter = bf.Segmenter(network, "cpu")
    with pytest.raises(bf.InputError, match=r"nowhere\.png: no such file$"):
        segmenter.segment(tmp_path / "nowhere.png")
    with pytest.raises(bf.InputError, match=r"^source: not an image"):
        segmenter.segment(b"not an image")
    with pytest.raises(bf.InputError, match=r"^source: zero-size image"):
        segmenter.segment(np.zeros((0, 4, 3), np.uint8))
    with pytest.raises(bf.InputError, match=r"^source: expected a path, bytes, PIL image or array"):
        segmenter.segment(3)  # type: ignore[arg-type]
    with pytest.raises(bf.InputError, match=r"^source: "):
        segmenter.segment_batch([np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.int64)])
