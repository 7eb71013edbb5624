"""What training minimises: the paper's loss, and the foreground term where background is known."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from bottomup_fast.losses import BottomUpLoss
from bottomup_fast.training.config import LossSettings
from bottomup_fast.training.stream import Batch


class TrainingLoss(nn.Module):
    """`BottomUpLoss` plus the weighted foreground loss."""

    def __init__(self, settings: LossSettings) -> None:
        super().__init__()
        arguments = settings.model_dump()
        self.foreground_weight: float = arguments.pop("foreground_weight")
        self.features = BottomUpLoss(**arguments)

    def forward(
        self, features: Tensor, foreground_logits: Tensor | None, batch: Batch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Total to differentiate, and every term by name for the logs."""
        terms = self.features(features, batch.labels, batch.seeds)
        logged = terms._asdict()
        total = logged.pop("total")
        if foreground_logits is not None:
            foreground = foreground_loss(foreground_logits, batch.foreground)
            total = total + self.foreground_weight * foreground
            logged["foreground"] = foreground.detach()
        return total, logged | {"total": total.detach()}


def foreground_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Twice the binary cross-entropy plus one minus the soft Dice coefficient, over known pixels.

    Args:
        logits: (B, H, W).
        target: (B, H, W): 1 object, 0 background, -1 unknown.
    """
    known = target >= 0
    if not known.any():
        return logits.sum() * 0
    chosen, truth = logits.float()[known], target[known].float()
    cross_entropy = functional.binary_cross_entropy_with_logits(chosen, truth)
    probability = torch.sigmoid(chosen)
    dice = (2 * (probability * truth).sum() + 1) / (probability.sum() + truth.sum() + 1)
    return 2 * cross_entropy + 1 - dice
