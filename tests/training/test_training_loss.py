from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from bottomup_fast.losses import BottomUpLoss
from bottomup_fast.training.config import LossSettings
from bottomup_fast.training.loss import TrainingLoss, foreground_loss
from bottomup_fast.training.stream import Batch


def as_map(*values: float) -> Tensor:
    return torch.tensor(values).view(1, 1, -1)


def test_a_batch_averages_over_its_images() -> None:
    logits = torch.cat([as_map(0, math.log(3), 1), as_map(2, 0.5, -1), as_map(5, 6, 7)])
    target = torch.cat([as_map(1, 0, -1), as_map(1, 1, 0), as_map(-1, -1, -1)])
    alone = [foreground_loss(logits[i : i + 1], target[i : i + 1]).item() for i in range(3)]
    assert alone[2] == 0
    assert foreground_loss(logits, target).item() == pytest.approx(sum(alone) / 3)


def test_foreground_loss_by_hand() -> None:
    # Probabilities 1/2 and 3/4 for an object and a background pixel.
    loss = foreground_loss(as_map(0, math.log(3)), as_map(1, 0))
    cross_entropy = (math.log(2) + math.log(4)) / 2
    dice = (2 * 0.5 + 1) / (0.5 + 0.75 + 1 + 1)
    assert loss.item() == pytest.approx(2 * cross_entropy + 1 - dice)


def test_a_certain_and_right_foreground_costs_nothing() -> None:
    assert foreground_loss(as_map(50, -50, 50), as_map(1, 0, 1)).item() < 1e-6
    assert foreground_loss(as_map(50, -50, 50), as_map(0, 1, 0)).item() > 100


def test_unknown_pixels_do_not_count() -> None:
    logits = as_map(0.3, -1, 2, 7).requires_grad_()
    loss = foreground_loss(logits, as_map(1, 0, -1, -1))
    assert loss.item() == pytest.approx(foreground_loss(as_map(0.3, -1), as_map(1, 0)).item())
    loss.backward()
    assert logits.grad is not None
    assert (logits.grad[..., 2:] == 0).all()
    assert (logits.grad[..., :2] != 0).all()


def test_without_known_pixels_the_loss_is_zero_and_differentiable() -> None:
    logits = as_map(0.3, -1).requires_grad_()
    loss = foreground_loss(logits, as_map(-1, -1))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


@pytest.fixture
def batch() -> Batch:
    labels = torch.zeros(1, 12, 12, dtype=torch.int32)
    labels[:, 1:5], labels[:, 7:11], labels[:, 5] = 1, 2, -1
    return Batch(
        images=torch.empty(1, 3, 12, 12),
        labels=labels,
        foreground=labels.sign().to(torch.int8),
        origin=torch.zeros(1, 2),
        seeds=torch.tensor([5]),
    )


def test_the_total_is_the_papers_loss_plus_the_weighted_foreground(batch: Batch) -> None:
    features = torch.randn(1, 8, 12, 12, generator=torch.Generator().manual_seed(0))
    features.requires_grad_()
    logits = torch.linspace(-1, 1, 144).view(1, 12, 12).requires_grad_()
    settings = LossSettings(foreground_weight=3, contrast_queries=7, max_entities=2)
    total, terms = TrainingLoss(settings)(features, logits, batch)
    expected = BottomUpLoss(contrast_queries=7)(features, batch.labels, batch.seeds)
    foreground = foreground_loss(logits, batch.foreground)
    torch.testing.assert_close(total, expected.total + 3 * foreground)
    assert terms.keys() == {*expected._fields, "foreground"}
    for name, value in expected._asdict().items():
        if name != "total":
            torch.testing.assert_close(terms[name], value)
    assert terms["total"] == total
    assert not any(value.requires_grad for value in terms.values())
    total.backward()
    assert features.grad is not None
    assert logits.grad is not None


def test_without_a_foreground_channel_there_is_no_such_term(batch: Batch) -> None:
    features = torch.randn(1, 8, 12, 12, generator=torch.Generator().manual_seed(0))
    total, terms = TrainingLoss(LossSettings())(features, None, batch)
    assert "foreground" not in terms
    torch.testing.assert_close(total, BottomUpLoss()(features, batch.labels, batch.seeds).total)
