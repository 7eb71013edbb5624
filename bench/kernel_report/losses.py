"""The losses' forward and backward pass: what the kernels move, and what plain torch does."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from bottomup_fast import BottomUpLoss
from kernel_report.traffic import CountingDevice, Launch

DIMENSIONS = 128
SIDES = {25: 96, 32: 96, 64: 96, 128: 192}
"""Of square images, by their entities: what is done once an image counts less in larger ones."""


@dataclass(frozen=True)
class LossTraffic:
    """Of one image with so many entities, float32, contiguous; contrast left out."""

    entities: int
    capability: int
    features: Tensor
    of_lines: list[Launch]
    of_losses: list[Launch]
    plain_bytes: int

    @property
    def side(self) -> int:
        return self.features.shape[-1]

    @property
    def fewest_bytes(self) -> int:
        """Features read once, their gradient written once."""
        return 2 * self.features.nbytes

    @property
    def lines_bytes(self) -> int:
        return sum(launch.moved_bytes for launch in self.of_lines)

    @property
    def losses_bytes(self) -> int:
        return sum(launch.moved_bytes for launch in self.of_losses)

    def summary(self) -> dict[str, object]:
        return {
            "entities": self.entities,
            "side": self.side,
            "capability": self.capability,
            "fewest_bytes": self.fewest_bytes,
            "losses_bytes": self.losses_bytes,
            "lines_bytes": self.lines_bytes,
            "plain_bytes": self.plain_bytes,
            "launches": [asdict(each) for each in (*self.of_lines, *self.of_losses)],
        }


class TorchTraffic(TorchDispatchMode):
    """Bytes that torch's operators read and write, every operand once; views move nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.moved_bytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        result = func(*args, **(kwargs or {}))
        view = any(
            each.alias_info and not each.alias_info.is_write for each in func._schema.returns
        )
        if not view and func._schema.name != "aten::detach":
            moved = (each for each in tree_iter((args, kwargs, result)) if isinstance(each, Tensor))
            self.moved_bytes += sum(each.nbytes for each in moved)
        return result


def scene(entities: int, side: int) -> tuple[Tensor, Tensor]:
    """(1, D, H, W) noisy features and labels: a grid of entities, ignored borders, background."""
    generator = torch.Generator().manual_seed(0)
    columns = 12
    rows = -(-entities // columns) if entities > 64 else int(entities**0.5)
    across = -(-entities // rows)
    y = torch.arange(side).view(-1, 1) * rows // side
    x = torch.arange(side).view(1, -1) * across // side
    labels = (y * across + x + 1).int()
    inner = torch.rand(side, side, generator=generator)
    labels = torch.where(inner < 0.1, 0, torch.where(inner < 0.2, -1, labels))
    labels = torch.where(labels > entities, 0, labels).int()[None].contiguous()
    lines = torch.linalg.qr(torch.randn(DIMENSIONS, DIMENSIONS, generator=generator))[0]
    lines = torch.cat([lines, lines[:2]])
    noise = torch.randn(side, side, DIMENSIONS, generator=generator)
    features = lines[labels[0].long().clamp_min(0)] + 0.5 / DIMENSIONS**0.5 * noise
    return features.permute(2, 0, 1)[None].contiguous(), labels


def count_losses(entities: int, capability: int, processors: int = 16) -> LossTraffic:
    """Run target lines, losses and gradient once on the kernels, once in plain torch."""
    import losses_ops as kernels

    features, labels = scene(entities, SIDES[entities])
    device = CountingDevice("losses", capability, processors)
    lines, _ = kernels.target_lines(device, features, labels, entities)
    of_lines = device.launches()
    outcome = kernels.losses(device, features, labels, lines, queries=0)
    assert outcome.status == kernels.OK
    of_losses = device.launches()

    leaf = features.requires_grad_()
    loss = BottomUpLoss(contrast_weight=0.0, max_entities=entities, backend="reference")
    with TorchTraffic() as plain:
        loss(leaf, labels).total.backward()
    return LossTraffic(entities, capability, features, of_lines, of_losses, plain.moved_bytes)
