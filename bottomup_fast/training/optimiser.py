"""AdamW with warm-up and cosine decay."""

from __future__ import annotations

import math

import torch
from torch import nn

from bottomup_fast.models.network import BottomUpNetwork
from bottomup_fast.training.config import OptimiserSettings


def make_optimiser(network: BottomUpNetwork, settings: OptimiserSettings) -> torch.optim.AdamW:
    """One parameter group for each of encoder and decoder, with and without weight decay."""
    groups = []
    for part, factor in ((network.encoder, settings.backbone_factor), (network.decoder, 1.0)):
        parameters = [p for p in part.parameters() if p.requires_grad]
        for decays in (True, False):
            # Decay acts on matrices and kernels; biases and scales have one axis.
            groups.append(
                {
                    "params": [p for p in parameters if (p.ndim > 1) == decays],
                    "weight_decay": settings.weight_decay if decays else 0.0,
                    "factor": factor,
                }
            )
    return torch.optim.AdamW(groups, lr=settings.learning_rate)


def set_learning_rate(
    optimiser: torch.optim.Optimizer, step: int, steps: int, settings: OptimiserSettings
) -> float:
    """Linear warm-up, then half a cosine to zero at `steps`; returns the decoder's rate."""
    if step < settings.warmup_steps:
        share = (step + 1) / settings.warmup_steps
    else:
        progress = (step - settings.warmup_steps) / max(1, steps - settings.warmup_steps)
        share = (1 + math.cos(math.pi * min(1.0, progress))) / 2
    rate = settings.learning_rate * share
    for group in optimiser.param_groups:
        group["lr"] = rate * group["factor"]
    return rate


def freeze_normalisation(network: nn.Module) -> None:
    """Keep batch-normalisation statistics as they are, also in training mode."""
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
