from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

from bottomup_fast.models.network import BottomUpNetwork
from bottomup_fast.models.registry import create_model
from bottomup_fast.training.average import WeightAverage
from bottomup_fast.training.config import OptimiserSettings
from bottomup_fast.training.optimiser import (
    freeze_normalisation,
    make_optimiser,
    set_learning_rate,
)


@pytest.fixture
def network() -> BottomUpNetwork:
    return create_model("bottomup_efficientnet_lite0", 16, foreground=True)


# Groups and learning rate


def test_every_parameter_is_in_exactly_one_group(network: BottomUpNetwork) -> None:
    optimiser = make_optimiser(network, OptimiserSettings(steps=1))
    counts = Counter(id(p) for group in optimiser.param_groups for p in group["params"])
    assert counts == Counter(id(p) for p in network.parameters())


def test_only_kernels_decay_and_the_encoder_learns_slower(network: BottomUpNetwork) -> None:
    settings = OptimiserSettings(steps=1, weight_decay=0.2, backbone_factor=0.1)
    encoder = {id(p) for p in network.encoder.parameters()}
    for group in make_optimiser(network, settings).param_groups:
        for parameter in group["params"]:
            assert group["weight_decay"] == (0.2 if parameter.ndim == 4 else 0)
            assert group["factor"] == (0.1 if id(parameter) in encoder else 1)


def test_warm_up_then_half_a_cosine_to_zero(network: BottomUpNetwork) -> None:
    settings = OptimiserSettings(steps=104, learning_rate=2, warmup_steps=4, backbone_factor=0.25)
    optimiser = make_optimiser(network, settings)
    rates = [set_learning_rate(optimiser, step, 104, settings) for step in range(105)]
    assert rates[:5] == pytest.approx([0.5, 1, 1.5, 2, 2])
    assert rates[29] == pytest.approx(1 + math.cos(math.pi / 4))
    assert rates[54] == pytest.approx(1)
    assert rates[104] == pytest.approx(0)
    assert all(a > b for a, b in pairwise(rates[4:]))
    set_learning_rate(optimiser, 54, 104, settings)
    assert [g["lr"] for g in optimiser.param_groups] == pytest.approx([0.25, 0.25, 1, 1])


def test_the_schedule_without_warm_up_starts_at_the_peak(network: BottomUpNetwork) -> None:
    settings = OptimiserSettings(steps=10, learning_rate=3, warmup_steps=0)
    assert set_learning_rate(make_optimiser(network, settings), 0, 10, settings) == 3


# Average of the weights


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))
        self.register_buffer("counter", torch.tensor(0))


def test_the_average_follows_with_a_growing_decay() -> None:
    network: Any = Small()
    average: Any = WeightAverage(network, decay=0.5)
    expected = 0.0
    for step in range(12):
        with torch.no_grad():
            network.weight.fill_(step + 1)
            network.counter += 1
        average.update(network, step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * (step + 1)
        assert average.network.weight.tolist() == pytest.approx([expected] * 2)
        assert average.network.counter == step + 1
    assert network.weight.tolist() == [12, 12]


def test_the_average_of_constant_weights_is_constant(network: BottomUpNetwork) -> None:
    average = WeightAverage(network, 0.99)
    for step in range(3):
        average.update(network, step)
    for name, value in average.network.state_dict().items():
        torch.testing.assert_close(value, network.state_dict()[name])
    assert not average.network.training
    assert not any(p.requires_grad for p in average.network.parameters())
    assert all(p.requires_grad for p in network.parameters())


# Batch normalisation


def test_frozen_statistics_stay_while_the_rest_trains(network: BottomUpNetwork) -> None:
    network.train()
    freeze_normalisation(network)
    before = {name: value.clone() for name, value in network.named_buffers()}
    network(torch.randn(2, 3, 64, 64)).sum().backward()
    assert len(before) > 100
    for name, value in network.named_buffers():
        assert torch.equal(value, before[name]), name
    assert network.decoder.training
    scales = [m.weight for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert all(scale.grad is not None for scale in scales)


def test_statistics_move_unless_frozen(network: BottomUpNetwork) -> None:
    network.train()
    before = {name: value.clone() for name, value in network.named_buffers()}
    network(torch.randn(2, 3, 64, 64))
    assert all(not torch.equal(value, before[name]) for name, value in network.named_buffers())
