"""Regional contrast on lines (Liu et al., ReCo, ICLR 2022), with counter-based draws.

Every draw is a Philox number keyed by the seed and counted by (image, entity, draw, stream), so
that any backend, in any order, draws the same queries and keys.
"""

from __future__ import annotations

from itertools import starmap

import torch
from torch import Tensor
from torch.nn import functional

from bottomup_fast.reference.philox import philox, uniform

TEMPERATURE = 0.5
EASY = 0.97
"""Pixels at least this |cos| from their line are easy, and drawn only after the hard ones."""
QUERY_STREAM, KEY_STREAM = 0, 1


def contrast_term(
    x: Tensor,
    labels: Tensor,
    lines: Tensor,
    seeds: Tensor,
    queries: int = 256,
    negatives: int = 512,
) -> Tensor:
    """Cross-entropy of each query against its own line and keys drawn from confusable entities.

    Args:
        x: (B, N, D) pixel lines; only the queries among them receive a gradient.
        labels: (B, N): -1 ignore, 0 background, neither of which is a query or a key; 1..K.
        lines: (B, K+1, D) target lines, always constants here.
        seeds: (B, 2) int64: seed in [0, 2^63) and image counter in [0, 2^32) of each image.
        queries: pixels drawn per entity, without replacement, hard ones first.
        negatives: keys drawn per entity, shared by its queries.

    Returns:
        (B,) mean over queries, then over entities; 0 for fewer than two entities.
    """
    lines = lines.detach()

    def image_term(x: Tensor, labels: Tensor, lines: Tensor, seed: Tensor) -> Tensor:
        entities = torch.unique(labels[labels > 0])
        if len(entities) < 2:
            return x.new_zeros(())
        chosen, drawn = sample_queries(x.detach(), labels, lines, entities, seed, queries)
        keys = sample_keys(labels, lines, entities, seed, negatives)
        positive = lines[entities].unsqueeze(1)
        candidates = torch.cat([positive, x.detach()[keys]], dim=1)
        logits = (x[chosen] @ candidates.mT).abs() / TEMPERATURE
        cross_entropy = logits.logsumexp(-1) - logits[..., 0]
        return ((cross_entropy * drawn).sum(1) / drawn.sum(1)).mean()

    return torch.stack(list(starmap(image_term, zip(x, labels, lines, seeds, strict=True))))


def sample_queries(
    x: Tensor, labels: Tensor, lines: Tensor, entities: Tensor, seed: Tensor, queries: int
) -> tuple[Tensor, Tensor]:
    """Pixels of each entity in random order, hard ones first.

    Returns:
        (E, queries) pixel indices and a bool mask of the same shape: False where an entity has
        fewer pixels than `queries`.
    """
    pixels = (labels > 0).nonzero().squeeze(1)
    own = labels[pixels]
    easy = (x[pixels] * lines[own]).sum(-1).abs() >= EASY
    rank = uniform(_draw(seed, own, pixels, QUERY_STREAM)[:, 0])
    # Primary key the label, then easy or hard, then the drawn number in [0, 1).
    order = pixels[(own * 2 + easy + rank).argsort(stable=True)]
    sizes = torch.bincount(own)[entities]
    position = torch.arange(queries, device=x.device)
    drawn = position < sizes.unsqueeze(1)
    first = (sizes.cumsum(0) - sizes).unsqueeze(1)
    return order[first + torch.where(drawn, position, 0)], drawn


def sample_keys(
    labels: Tensor, lines: Tensor, entities: Tensor, seed: Tensor, negatives: int
) -> Tensor:
    """(E, negatives) pixel indices: another entity by similarity of lines, then a pixel of it."""
    similarity = (lines[entities] @ lines[entities].mT).abs().double() / TEMPERATURE
    itself = torch.eye(len(entities), dtype=torch.bool, device=labels.device)
    weights = functional.softmax(similarity.masked_fill(itself, -torch.inf), dim=1)
    draws = torch.arange(negatives, device=labels.device).expand(len(entities), -1)
    words = _draw(seed, entities.unsqueeze(1).expand_as(draws), draws, KEY_STREAM)
    picked = torch.searchsorted(weights.cumsum(1), uniform(words[..., 0]), right=True)
    # A cumulative sum that rounds below 1 must not pick past the last possible entity.
    last = len(entities) - 1 - itself[:, -1:].long()
    picked = torch.minimum(picked, last)
    order = labels.argsort(stable=True)
    sizes = torch.bincount(labels.clamp_min(0))[entities]
    first = len(labels) - sizes.flip(0).cumsum(0).flip(0)
    within = (uniform(words[..., 1]) * sizes[picked]).long()
    return order[first[picked] + within]


def _draw(seed: Tensor, entity: Tensor, draw: Tensor, stream: int) -> Tensor:
    word, image = seed.unbind()
    key = (word & 0xFFFFFFFF, word >> 32)
    return philox(key, (image, entity, draw, torch.full_like(draw, stream)))
