from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bottomup_fast.training.config import TrainingConfig

Settings = dict[str, Any]
MakeSettings = Callable[..., Settings]
MakeConfig = Callable[..., TrainingConfig]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def make_settings(tmp_path: Path) -> MakeSettings:
    """A tiny training's configuration; `a__b=1` sets b of a."""

    def make(**changes: Any) -> Settings:
        settings: Settings = {
            "model": {
                "name": "tiny",
                "architecture": {"name": "bottomup_efficientnet_lite0", "feature_dim": 16},
                "preprocessing": {"resolutions": [64]},
            },
            "data": {
                "sources": [{"kind": "shapes", "size": 80, "max_shapes": 5}],
                "crop": 64,
                "batch_size": 2,
                "workers": 0,
                "erosion": 3,
            },
            "loss": {"contrast_queries": 16, "contrast_negatives": 32, "max_entities": 16},
            "optimiser": {"steps": 12, "warmup_steps": 2},
            "output": str(tmp_path / "run"),
            "checkpoint_every": 4,
        }
        for name, value in changes.items():
            *path, last = name.split("__")
            part = settings
            for key in path:
                part = part.setdefault(key, {})
            part[last] = value
        return settings

    return make


@pytest.fixture
def make_config(make_settings: MakeSettings) -> MakeConfig:
    def make(**changes: Any) -> TrainingConfig:
        return TrainingConfig.model_validate(make_settings(**changes))

    return make


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """A data set of grey images; image i is of intensity 100 + i with a label 1 in its middle."""

    def make(name: str, count: int) -> Path:
        root = tmp_path / name
        (root / "images").mkdir(parents=True)
        (root / "masks").mkdir()
        for index in range(count):
            labels = np.zeros((70, 70), np.uint16)
            labels[15:55, 15:55] = 1
            image = np.full((70, 70, 3), 100 + index, np.uint8)
            Image.fromarray(image).save(root / "images" / f"{index}.png")
            Image.fromarray(labels).save(root / "masks" / f"{index}.png")
        return root

    return make
