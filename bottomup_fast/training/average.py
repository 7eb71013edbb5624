"""Exponential moving average of a network's weights."""

from __future__ import annotations

import copy

import torch

from bottomup_fast.models.network import BottomUpNetwork


class WeightAverage:
    """A copy of a network whose floating-point state follows the original slowly.

    The decay grows with the number of updates up to its final value, so that the average does not
    remember the random start.
    """

    def __init__(self, network: BottomUpNetwork, decay: float) -> None:
        self.decay = decay
        self.network = copy.deepcopy(network).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, network: BottomUpNetwork, step: int) -> None:
        """Move towards `network` after update number `step` (from 0)."""
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        averages, currents = self.network.state_dict(), network.state_dict()
        floating = [name for name, value in averages.items() if value.is_floating_point()]
        torch._foreach_lerp_(
            [averages[name] for name in floating], [currents[name] for name in floating], weight
        )
        for name in averages.keys() - set(floating):
            averages[name].copy_(currents[name])
