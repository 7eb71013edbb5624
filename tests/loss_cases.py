"""Inputs of the loss ops' tests, and the losses of given lines in plain torch."""

from __future__ import annotations

import torch
from torch import Tensor

from bottomup_fast import ops
from bottomup_fast.reference import lines, losses

Case = tuple[Tensor, Tensor]
WEIGHTS = torch.tensor([1.0, 0.7, 0.0, 1.3, 0.05, 0.025])
"""Of the terms of `plain_losses`, which has no contrast."""


def blocks(
    seed: int, batch: int = 2, dim: int = 16, shape: tuple[int, int] = (40, 72), entities: int = 6
) -> Case:
    """Features scattered around a line per label, and labels in blocks of a few pixels."""
    generator = torch.Generator().manual_seed(seed)
    height, width = shape
    coarse = (batch, -(-height // 5), -(-width // 7))
    labels = torch.randint(-1, entities + 1, coarse, generator=generator)
    labels = labels.repeat_interleave(5, 1).repeat_interleave(7, 2)[:, :height, :width]
    centres = torch.randn(batch, entities + 2, dim, generator=generator)
    image = torch.arange(batch).view(-1, 1, 1)
    features = centres[image, labels + 1].movedim(-1, 1)
    features = features + 0.6 * torch.randn(features.shape, generator=generator)
    return features.contiguous(), labels.int().contiguous()


def cosines_with(
    features: Tensor, targets: Tensor, bfloat16: bool = False
) -> tuple[Tensor, Tensor]:
    """Cosines (B, N, K+1) of pixels with lines, and the lengths of the features (B, N)."""
    raw = features.flatten(2).mT
    length = lines.norm(raw, dim=-1)
    x = lines.divide_by_norm(raw, length, dim=-1)
    if bfloat16:
        return (x.bfloat16() @ targets.bfloat16().mT).to(x.dtype), length
    return x @ targets.mT, length


def plain_losses(
    features: Tensor, labels: Tensor, targets: Tensor, bfloat16: bool = False
) -> tuple[Tensor, Tensor]:
    """Terms (6,) and gradient of their sum, for the same lines as the op is given."""
    features = features.detach().requires_grad_()
    targets = targets.to(features.dtype)
    cosines, length = cosines_with(features, targets, bfloat16)
    member = losses.Membership.of(labels.flatten(1).long(), targets.shape[1] - 1, features.dtype)
    sigma, usable = losses.segment_space(cosines, targets, member)
    counts = (member.valid & usable.unsqueeze(1)).unsqueeze(-1)
    residual = torch.where(counts, sigma - member.one_hot[..., 1:], 0)
    per_image = [
        losses.attraction_term(cosines, member),
        losses.repulsion_term(cosines, member),
        length.new_zeros(len(features)),
        losses.segment_mse_term(residual, member),
        losses.segment_gradient_term(residual, member, *labels.shape[1:]),
        losses.norm_term(length, member.valid),
    ]
    terms = torch.stack([term.mean() for term in per_image])
    gradient = torch.autograd.grad(WEIGHTS.to(terms.dtype) @ terms, features)[0]
    return terms.detach(), gradient


def fused_losses(
    features: Tensor, labels: Tensor, targets: Tensor, fast: bool = False
) -> tuple[Tensor, Tensor]:
    """The same by the op."""
    features = features.detach().requires_grad_()
    seeds = torch.zeros(len(features), 2, dtype=torch.int64)
    terms, total = ops.losses(features, labels, targets, WEIGHTS, seeds, queries=0, fast=fast)
    return terms, torch.autograd.grad(total, features)[0]


def near_thresholds(targets: Tensor) -> bool:
    """Whether rounding may tell if some image has a segment space, or what its coordinates are."""
    for image in targets[:, 1:].double():
        present = image[image.any(1)]
        gram = present @ present.mT
        similarity = (gram - gram.diagonal().diag()).abs().max() if len(present) else 0.0
        if len(present) > image.shape[1] or similarity > losses.SIMILAR + 1e-3:
            continue
        values = torch.linalg.eigvalsh(gram)
        condition = values[-1] / values[0].clamp_min(1e-12) if len(present) else 1.0
        if condition > 2 * losses.CONDITION_LIMIT:
            continue
        if similarity > losses.SIMILAR - 1e-3 or condition > losses.CONDITION_LIMIT / 10:
            return True
    return False


def near_kinks(features: Tensor, labels: Tensor, targets: Tensor, margin: float = 1e-4) -> Tensor:
    """(B, H, W), pixels whose gradient may jump within `margin` of what its signs depend on."""
    shape = (*labels.shape, targets.shape[1] - 1)
    member = losses.Membership.of(labels.flatten(1).long(), shape[-1], features.dtype)
    cosines, _ = cosines_with(features, targets)
    near = ((cosines.abs() < margin) & member.present.unsqueeze(1)).any(-1).view(labels.shape)
    sigma, usable = losses.segment_space(cosines, targets, member)
    counts = (member.present[:, 1:] & usable.unsqueeze(1)).view(len(labels), 1, 1, -1)
    near |= ((sigma.view(shape) < margin) & counts).any(-1)
    residual = (sigma - member.one_hot[..., 1:]).view(shape)
    for scale in range(losses.GRADIENT_SCALES):
        step = 2**scale
        grid, marks = residual[:, ::step, ::step], near[:, ::step, ::step]
        for axis in (1, 2):
            size = grid.shape[axis] - 1
            change = grid.narrow(axis, 0, size) - grid.narrow(axis, 1, size)
            even = ((change.abs() < margin) & counts).any(-1)
            marks.narrow(axis, 0, size).logical_or_(even)
            marks.narrow(axis, 1, size).logical_or_(even)
    return near
