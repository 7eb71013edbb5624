"""The six loss terms (equations 3, 5, 6, 8, 9 and the contrast), one function each.

Shapes throughout: `x` (B, N, D) unit pixel lines with N = H*W in raster order; `labels` (B, N)
with -1 ignore, 0 background, 1..K entities; `lines` (B, K+1, D) with row 0 the background's and
zero rows for absent labels. Each term returns one number per image, (B,); a batch averages them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SIMILAR = 0.98
"""Two target lines closer than this |cos| make the segment space degenerate (assumed)."""
CONDITION_LIMIT = 1e4
"""Largest condition number of M^T M that counts as invertible (assumed)."""
GRADIENT_SCALES = 4
"""Scales k = 0..3 of the multi-scale gradient term (assumed)."""


@dataclass(frozen=True)
class Membership:
    """Who belongs where, in the forms the terms need; no gradient flows through any of it.

    Attributes:
        valid: (B, N) bool, pixels that take part in losses (label >= 0).
        one_hot: (B, N, K+1) membership of valid pixels, in the dtype of the losses.
        counts: (B, K+1) pixels of each label.
        present: (B, K+1) bool.
        entities: (B,) number of entities present, background not counted.
    """

    valid: Tensor
    one_hot: Tensor
    counts: Tensor
    present: Tensor
    entities: Tensor

    @classmethod
    def of(cls, labels: Tensor, num_entities: int, dtype: torch.dtype) -> Membership:
        """Membership of (B, N) labels in entities 1..num_entities and the background."""
        groups = torch.arange(num_entities + 1, device=labels.device)
        one_hot = (labels.unsqueeze(-1) == groups).to(dtype)
        counts = one_hot.sum(1)
        present = counts > 0
        return cls(labels >= 0, one_hot, counts, present, present[:, 1:].sum(1))


def _ratio(total: Tensor, count: Tensor) -> Tensor:
    """`total / count`, and 0 where the count is 0."""
    return torch.where(count > 0, total / count.clamp_min(1), 0)


def norm_term(length: Tensor, valid: Tensor) -> Tensor:
    """Eq. 3: mean over valid pixels of (|f| - 1)^2, from the (B, N) norms of raw features."""
    deviation = (length - 1).square()
    return _ratio(torch.where(valid, deviation, 0).sum(1), valid.sum(1))


def attraction_term(cosines: Tensor, member: Membership) -> Tensor:
    """Eq. 5: mean over entities of the mean distance of their pixels to their line.

    `cosines` (B, N, K+1) is `x @ lines^T`.
    """
    own = (cosines.abs() * member.one_hot)[..., 1:].sum(1)
    mean_distance = torch.where(
        member.present[:, 1:], 1 - own / member.counts[:, 1:].clamp_min(1), 0
    )
    return _ratio(mean_distance.sum(1), member.entities)


def repulsion_term(cosines: Tensor, member: Membership, normaliser: str = "entities") -> Tensor:
    """Eq. 6, background included: mean |cos| of each label's pixels to every other label's line.

    `normaliser`: divide by the entities K ("entities"), the ordered pairs n(n-1) ("pairs") or their
    root ("sqrt-pairs") of the n lines present. 0 if n < 2 or K = 0.
    """
    others = (cosines.abs() * (1 - member.one_hot)).sum(-1)
    weight = (member.one_hot / member.counts.clamp_min(1).unsqueeze(1)).sum(-1)
    total = (weight * others).sum(1)
    lines = member.present.sum(1)
    pairs = (lines * (lines - 1)).to(total.dtype)
    divisor = {
        "entities": member.entities.to(total.dtype),
        "pairs": pairs,
        "sqrt-pairs": pairs.sqrt(),
    }
    return torch.where((lines > 1) & (member.entities > 0), _ratio(total, divisor[normaliser]), 0)


def segment_space(cosines: Tensor, lines: Tensor, member: Membership) -> tuple[Tensor, Tensor]:
    """Eq. 7: alignment of every pixel with every entity in the segment space.

    Returns:
        sigma (B, N, K), `|W x|` with W the left inverse of the target lines, and usable (B,) bool:
        False where the map is degenerate (more entities than dimensions, two entities with one
        line, or a badly conditioned Gram matrix); sigma is 0 and sends no gradient there.
    """
    entity_lines = lines[:, 1:]
    identity = torch.eye(entity_lines.shape[1], dtype=lines.dtype, device=lines.device)
    gram = entity_lines @ entity_lines.mT
    # Unit diagonal entries for absent entities leave the others' inverse as it is.
    gram = gram + identity * (~member.present[:, 1:]).to(lines.dtype).unsqueeze(1)
    with torch.no_grad():
        similar = ((gram - gram * identity).abs() > SIMILAR).any(2).any(1)
        eigenvalues = torch.linalg.eigvalsh(gram)
        # Not strict, so that a matrix of zeros, from zero features only, is singular too.
        singular = eigenvalues[:, -1:] >= CONDITION_LIMIT * eigenvalues[:, :1]
        usable = (member.entities <= lines.shape[-1]) & ~similar & ~singular.any(1)
    gram = torch.where(usable.view(-1, 1, 1), gram, identity)
    inverse = torch.linalg.inv(gram)
    sigma = (cosines[..., 1:] @ inverse).abs()
    return torch.where(usable.view(-1, 1, 1), sigma, 0), usable


def segment_mse_term(residual: Tensor, member: Membership) -> Tensor:
    """First half of eq. 8: mean over entities of the mean over valid pixels of R^2.

    `residual` (B, N, K) is `sigma - g` with g the binary mask of each entity, 0 on ignored pixels.
    """
    mean_square = _ratio(residual.square().sum((1, 2)), member.valid.sum(1))
    return _ratio(mean_square, member.entities)


def segment_gradient_term(residual: Tensor, member: Membership, height: int, width: int) -> Tensor:
    """Second half of eq. 8: multi-scale spatial smoothness of the residual, as MegaDepth and MiDaS.

    At scale k every 2^k-th pixel is kept; a pair of neighbours counts if both are valid.
    """
    maps = residual.view(len(residual), height, width, residual.shape[-1])
    valid = member.valid.view(len(residual), height, width)
    total = residual.new_zeros(len(residual))
    for scale in range(GRADIENT_SCALES):
        step = 2**scale
        coarse, coarse_valid = maps[:, ::step, ::step], valid[:, ::step, ::step]
        differences, pairs = residual.new_zeros(len(residual)), residual.new_zeros(len(residual))
        for axis in (1, 2):
            size = coarse.shape[axis] - 1
            first, second = coarse.narrow(axis, 0, size), coarse.narrow(axis, 1, size)
            both = coarse_valid.narrow(axis, 0, size) & coarse_valid.narrow(axis, 1, size)
            change = (second - first).abs().sum(-1)
            differences = differences + torch.where(both, change, 0).sum((1, 2))
            pairs = pairs + both.sum((1, 2))
        total = total + differences / pairs.clamp_min(1)
    return _ratio(total, member.entities)
