"""Lines through the origin: normalisation, distance, target lines, eroded labels (eq. 1-4, 9)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from bottomup_fast.errors import InputError

NORM_FLOOR = 1e-6
"""`x = f / max(|f|, NORM_FLOOR)`."""
GAP_FLOOR = 1e-6
"""Smallest eigenvalue gap to divide a gradient by, as a fraction of the largest eigenvalue."""


def norm(features: Tensor, dim: int = 1) -> Tensor:
    """Length of each feature, with gradient 0 (not NaN) at the zero feature."""
    squared = features.square().sum(dim)
    return torch.where(squared > 0, squared, 1).sqrt() * (squared > 0)


def normalise(features: Tensor, dim: int = 1) -> Tensor:
    """Project raw features onto the sphere (eq. 1); the zero feature stays, with gradient 0."""
    return divide_by_norm(features, norm(features, dim), dim)


def divide_by_norm(features: Tensor, length: Tensor, dim: int = 1) -> Tensor:
    """`normalise`, for features whose `norm` is already known."""
    inverse = torch.where(length > 0, 1 / length.clamp_min(NORM_FLOOR), 0)
    return features * inverse.unsqueeze(dim)


def distance(x: Tensor, y: Tensor, dim: int = -1) -> Tensor:
    """Distance between unit lines, `1 - |x.y|` in [0, 1] (eq. 2)."""
    return 1 - (x * y).sum(dim).abs()


def canonical_sign(lines: Tensor) -> Tensor:
    """Choose of x and -x the one whose component of largest magnitude is positive (last axis)."""
    largest = lines.abs().argmax(-1, keepdim=True)
    negative = lines.gather(-1, largest) < 0
    return torch.where(negative, -lines, lines)


class _PrincipalLine(torch.autograd.Function):
    """Unit eigenvector of the largest eigenvalue, differentiable with respect to the matrix."""

    @staticmethod
    def forward(ctx: Any, matrices: Tensor) -> Tensor:
        values, vectors = torch.linalg.eigh(matrices)
        lines = canonical_sign(vectors[..., -1])
        ctx.save_for_backward(values, vectors, lines)
        return lines

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        values, vectors, lines = ctx.saved_tensors
        largest = values[..., -1:]
        gap = torch.maximum(largest - values[..., :-1], GAP_FLOOR * largest)
        others = vectors[..., :-1]
        in_eigenbasis = (others.mT @ gradients[0].unsqueeze(-1)).squeeze(-1)
        # A zero matrix has no line to differentiate.
        weights = torch.where(gap > 0, in_eigenbasis / gap, 0)
        direction = (others @ weights.unsqueeze(-1)).squeeze(-1)
        outer: Tensor = direction.unsqueeze(-1) * lines.unsqueeze(-2)
        return (outer + outer.mT) / 2


def principal_lines(matrices: Tensor) -> Tensor:
    """Principal eigenvector of symmetric (..., D, D) matrices (eq. 4); zero for a zero matrix.

    The gradient is exact where the largest eigenvalue is single; smaller gaps are floored at
    `GAP_FLOOR` times that eigenvalue.
    """
    lines: Tensor = _PrincipalLine.apply(matrices)
    return lines * (matrices.diagonal(dim1=-2, dim2=-1).sum(-1, keepdim=True) > 0)


def scatter_matrices(x: Tensor, labels: Tensor, num_entities: int) -> Tensor:
    """Sum of `x x^T` over the pixels of each label 0..num_entities.

    Args:
        x: (B, N, D) pixel lines.
        labels: (B, N) integers; pixels labelled -1 belong to no entity.
        num_entities: K.

    Returns:
        (B, K+1, D, D).
    """
    batch, _, dim = x.shape
    groups = num_entities + 1
    image = torch.arange(batch, device=x.device).unsqueeze(1)
    group = torch.where(labels >= 0, image * groups + labels, batch * groups).flatten()
    order = group.argsort(stable=True)
    sizes = torch.bincount(group, minlength=batch * groups + 1).tolist()
    runs = torch.split(x.reshape(-1, dim)[order], sizes)[:-1]
    # The empty block is all there is in a batch without images.
    blocks = [x.new_zeros(0, dim), *(run.mT @ run for run in runs)]
    return torch.cat(blocks).view(batch, groups, dim, dim)


def at_least_float32(features: Tensor) -> Tensor:
    """Half precision as float32, in which sums are accumulated; float32 and float64 as they are."""
    return features.float() if features.dtype.itemsize < 4 else features


def pixel_lines(features: Tensor) -> Tensor:
    """(B, D, H, W) raw features to (B, H*W, D) lines."""
    return normalise(at_least_float32(features).flatten(2).mT, dim=-1)


def target_lines(features: Tensor, labels: Tensor, num_entities: int) -> Tensor:
    """Average line of each entity (eq. 4), after Markley et al.

    Args:
        features: (B, D, H, W) raw network output, any float dtype.
        labels: (B, H, W) integers: -1 ignore, 0 background, 1..num_entities.
        num_entities: K.

    Returns:
        (B, K+1, D) unit lines, row 0 the background's; rows of absent labels, and of labels that
        have only zero features, are zero. Each line's component of largest magnitude is positive.
        float64 for float64 features, else float32.
    """
    matrices = scatter_matrices(pixel_lines(features), labels.flatten(1), num_entities)
    return principal_lines(matrices)


def erode_labels(labels: Tensor, kernel: int = 5, keep: float = 0.5) -> Tensor:
    """Set entity pixels near another label to -1, where annotations are least exact (eq. 9).

    A pixel survives if its kernel x kernel window (cut at the image border) holds its own label
    only. Entities that would keep less than the fraction `keep` of their pixels are eroded with the
    next smaller odd kernel instead, down to none, so that no entity vanishes (both assumed).

    Args:
        labels: (B, H, W) or (H, W) signed integers: -1 ignore, 0 background, which is not eroded,
            1..K entities.
        kernel: odd size of the erosion window, pixels.
        keep: smallest fraction of an entity's pixels that must survive, in (0, 1].

    Raises:
        InputError: for labels of another rank or dtype, or a setting outside its range.
    """
    if labels.dtype not in (torch.int8, torch.int16, torch.int32, torch.int64):
        raise InputError(f"labels must be signed integers, got {labels.dtype}")
    if labels.ndim not in (2, 3):
        raise InputError(f"labels must be (B, H, W) or (H, W), got shape {tuple(labels.shape)}")
    if kernel < 1 or kernel % 2 == 0:
        raise InputError(f"kernel must be odd and at least 1, got {kernel}")
    if not 0 < keep <= 1:
        raise InputError(f"keep must be in (0, 1], got {keep}")
    if labels.numel() == 0:
        return labels.clone()
    flat = labels.reshape(-1, *labels.shape[-2:]).long()
    eroded = flat.clone()
    pending = flat > 0
    groups = int(flat.max().clamp_min(0)) + 1
    image = torch.arange(len(flat), device=flat.device).view(-1, 1, 1)
    entity = image * groups + flat.clamp_min(0)
    area = torch.bincount(entity[pending], minlength=len(flat) * groups)
    for size in range(kernel, 1, -2):
        window = flat.unsqueeze(1).double()
        highest = functional.max_pool2d(window, size, stride=1, padding=size // 2)
        lowest = -functional.max_pool2d(-window, size, stride=1, padding=size // 2)
        inside = (highest == lowest).squeeze(1)
        left = torch.bincount(entity[pending & inside], minlength=len(area))
        accepted = pending & (left >= keep * area)[entity]
        eroded[accepted & ~inside] = -1
        pending &= ~accepted
    return eroded.to(labels.dtype).view_as(labels)
