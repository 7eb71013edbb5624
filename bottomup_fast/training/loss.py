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

    As with the paper's losses a batch averages over its images, those without known pixels (0)
    included: so it makes no difference how many processes or batches share an update's images.

    Args:
        logits: (B, H, W).
        target: (B, H, W): 1 object, 0 background, -1 unknown.
    """
    known = target >= 0
    truth = (target == 1).float()
    logits = torch.where(known, logits.float(), 0)
    cross_entropy = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    mean = (cross_entropy * known).sum((1, 2)) / known.sum((1, 2)).clamp_min(1)
    probability = torch.sigmoid(logits) * known
    both = (probability * truth).sum((1, 2))
    dice = (2 * both + 1) / (probability.sum((1, 2)) + truth.sum((1, 2)) + 1)
    return (2 * mean + 1 - dice).mean()
