from __future__ import annotations

import pytest
import torch

from bottomup_fast.models.network import BottomUpNetwork
from bottomup_fast.models.weights import build_network
from bottomup_fast.settings import ModelSettings


@pytest.fixture(scope="session")
def settings() -> ModelSettings:
    return ModelSettings.model_validate(
        {
            "name": "tiny",
            "licence": "Apache-2.0",
            "architecture": {
                "name": "bottomup_efficientnet_lite0",
                "feature_dim": 16,
                "foreground": True,
                "position_scale": 10,
            },
            "preprocessing": {"scale": 1.5, "mean": [0.1, 0.2, 0.3]},
            "clustering": {"bandwidth_deg": 30, "split_components": True},
        }
    )


@pytest.fixture(scope="session")
def network(settings: ModelSettings) -> BottomUpNetwork:
    """Shared by all tests: copy it before changing it."""
    torch.manual_seed(0)
    return build_network(settings).eval()
