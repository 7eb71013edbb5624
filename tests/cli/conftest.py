from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from bottomup_fast.cli import app
from bottomup_fast.models.weights import build_network, save_model
from bottomup_fast.settings import ModelSettings

SETTINGS = {
    "name": "tiny",
    "description": "random weights",
    "licence": "Apache-2.0",
    "architecture": {
        "name": "bottomup_efficientnet_lite0",
        "feature_dim": 8,
        "foreground": True,
    },
    "preprocessing": {"normalisation": "percentile", "scale": 1.0},
    "clustering": {"split_components": True},
}


def picture(seed: int, height: int = 40, width: int = 56) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    return np.kron(coarse, np.ones((8, 8, 1), np.uint8))


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = ModelSettings.model_validate(SETTINGS)
    torch.manual_seed(0)
    network = build_network(settings)
    with torch.no_grad():  # freshly made, it gives all pixels nearly the same feature
        for layer in network.decoder.modules():
            if isinstance(layer, torch.nn.Conv2d):
                layer.bias.zero_()
                layer.weight.mul_(2)
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_model(path, network, settings)
    return path


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    """Three images, one of them damaged."""
    folder = tmp_path / "images"
    folder.mkdir()
    for seed, name in enumerate(("a1.png", "a10.png")):
        Image.fromarray(picture(seed)).save(folder / name)
    (folder / "a2.png").write_bytes((folder / "a1.png").read_bytes()[:60])
    (folder / "notes.txt").write_text("not an image")
    return folder


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Four images: objects touch in two of them; three of the split "val"."""
    folder = tmp_path / "dataset"
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    split, meta = [], ["name\tmodality_guess"]
    for number in range(4):
        labels = np.zeros((40, 56), np.uint16)
        labels[4:20, 4:20] = 1
        labels[4:20, 20 + 8 * (number % 2) : 40] = 2
        labels[30:, 40:] = 3
        name = f"image{number}"
        Image.fromarray(picture(number)).save(folder / "images" / f"{name}.png")
        Image.fromarray(labels).save(folder / "masks" / f"{name}.png")
        split.append(f"{'val' if number else 'train'}\t{name}")
        meta.append(f"{name}\t{'grey' if number < 2 else 'colour'}")
    (folder / "split.txt").write_text("\n".join(split))
    (folder / "meta.tsv").write_text("\n".join(meta))
    return folder


@pytest.fixture
def run() -> Callable[..., Any]:
    """Run `bottomup` with arguments; the result has exit_code, stdout and stderr."""

    def invoke(*arguments: object) -> Any:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    return invoke
