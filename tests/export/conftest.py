from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bottomup_fast.export import export_aoti, export_onnx
from bottomup_fast.export import onnx_file as onnx_file_module
from bottomup_fast.export.description import Precision
from bottomup_fast.export.onnx_file import CHECKSUM_ENTRY
from bottomup_fast.export.seal import DIGEST
from bottomup_fast.models.network import BottomUpNetwork
from bottomup_fast.models.weights import list_models, load_model
from bottomup_fast.settings import ModelSettings

SETTINGS: dict[str, Any] = {
    "name": "tiny",
    "licence": "Apache-2.0",
    "architecture": {"name": "tiny", "feature_dim": 6, "foreground": True, "position_scale": 9.0},
    "preprocessing": {"resolutions": [64, 96], "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4]},
}


def tiny_network(
    backbone: str = "test_efficientnet", foreground: bool = True, position: bool = True
) -> BottomUpNetwork:
    architecture = {
        **SETTINGS["architecture"],
        "foreground": foreground,
        "position_scale": 9.0 if position else None,
    }
    torch.manual_seed(0)
    network = BottomUpNetwork(
        backbone,
        width=8,
        feature_dim=6,
        foreground=foreground,
        position_scale=architecture["position_scale"],
    )
    with torch.no_grad():  # freshly made, it gives all pixels nearly the same feature
        for layer in network.decoder.modules():
            if isinstance(layer, torch.nn.Conv2d):
                layer.bias.zero_()
                layer.weight.mul_(2)
    network.settings = ModelSettings.model_validate(SETTINGS | {"architecture": architecture})
    return network.eval()


@pytest.fixture(scope="session")
def make_network() -> Callable[..., BottomUpNetwork]:
    return tiny_network


@pytest.fixture(scope="session")
def network() -> BottomUpNetwork:
    return tiny_network()


@pytest.fixture(scope="session", params=list_models())
def bundled(request: pytest.FixtureRequest) -> BottomUpNetwork:
    return load_model(request.param)


@pytest.fixture(scope="session")
def onnx_file(network: BottomUpNetwork, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "tiny.onnx"
    export_onnx(network, path)
    return path


@pytest.fixture(scope="session")
def aoti_file(network: BottomUpNetwork, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("aoti") / "tiny.pt2"
    export_aoti(network, path)
    return path


@pytest.fixture(scope="session")
def traced(onnx_file: Path, network: BottomUpNetwork) -> Callable[..., bytes]:
    """Tracing takes seconds: a stand-in for `onnx_bytes` that traces each precision once."""
    known = {"float32": onnx_file.read_bytes()[: -DIGEST - len(CHECKSUM_ENTRY)]}

    def onnx_bytes(network: BottomUpNetwork, precision: Precision, *rest: Any) -> bytes:
        if precision not in known:
            known[precision] = onnx_file_module.onnx_bytes(tiny_network(), precision, None, {})
        return known[precision]

    return onnx_bytes
