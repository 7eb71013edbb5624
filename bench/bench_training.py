"""One training step of `cells` at 256x256, batch 8: with the fused losses and with plain torch's.

make bench
"""

from __future__ import annotations

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from bottomup_fast.data.shapes import ShapesDataset
from bottomup_fast.losses import BottomUpLoss
from bottomup_fast.models.weights import build_network
from bottomup_fast.training.config import load_config

BATCH, SIDE = 8, 256


@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_step(benchmark: BenchmarkFixture, backend: str) -> None:
    config = load_config("cells.yaml")
    torch.manual_seed(0)
    network = build_network(config.model).to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4)
    arguments = config.loss.model_dump(exclude={"foreground_weight"})
    loss = BottomUpLoss(**arguments, backend=backend)
    scenes = ShapesDataset(SIDE, SIDE, 0, max_shapes=30, backdrop="background")
    images, labels = zip(*(scenes[i] for i in range(BATCH)), strict=True)
    pixels = torch.stack([torch.from_numpy(image) for image in images]).permute(0, 3, 1, 2) / 127.5
    batch = (pixels - 1).contiguous(memory_format=torch.channels_last)
    target = torch.stack([torch.from_numpy(label) for label in labels])

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=config.optimiser.bfloat16):
            features = network(batch)
        optimiser.zero_grad(set_to_none=True)
        loss(features, target).total.backward()
        optimiser.step()

    benchmark.group = f"training step of cells, {BATCH}x{SIDE}x{SIDE}"
    benchmark.pedantic(step, rounds=5, warmup_rounds=2)
