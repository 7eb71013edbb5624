"""Mean shift on lines with a flat window (eq. 10), its exact partition, and the seeded version.

Points are rows of (N, D) unit lines; a zero row is a pixel without a line, which belongs to the
first mode.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from bottomup_fast.reference.lines import canonical_sign, normalise

MIN_SUPPORT = 10
"""Pixels a mode needs in its window to be kept (assumed)."""
_CHUNK = 1 << 16


class Modes(NamedTuple):
    """Cluster centres: (M, D) unit `lines`, the largest `support` (M,) first."""

    lines: Tensor
    support: Tensor


def mean_shift(
    points: Tensor,
    seeds: Tensor,
    bandwidth_deg: float = 45.0,
    weights: Tensor | None = None,
    tolerance: float = 1e-10,
    max_steps: int = 200,
) -> Tensor:
    """Move every seed uphill to its mode.

    Each step replaces a mode by `normalise(sum over its window of (m.x) x)`, which up to 45 degrees
    ascends the same objective as the principal eigenvector of the window does.

    Args:
        points: (N, D) unit lines.
        seeds: (S, D) unit lines.
        bandwidth_deg: half opening angle of the window, in (0, 45].
        weights: (N,) of the points; 1 by default.
        tolerance: a seed rests when a step moves it by no more than this distance on the sphere.
        max_steps: bound on the steps.

    Returns:
        (S, D) unit lines of canonical sign. A seed with an empty window stays where it is.
    """
    cosine = math.cos(math.radians(bandwidth_deg))
    modes = seeds.clone()
    moving = torch.arange(len(seeds), device=seeds.device)
    for _ in range(max_steps):
        if not len(moving):
            break
        current = modes[moving]
        total = torch.zeros_like(current)
        for start in range(0, len(points), _CHUNK):
            part = points[start : start + _CHUNK]
            similarity = current @ part.mT
            inside = torch.where(similarity.abs() >= cosine, similarity, 0)
            if weights is not None:
                inside = inside * weights[start : start + _CHUNK]
            total += inside @ part
        shifted = normalise(total, dim=-1)
        shifted = torch.where((shifted == 0).all(-1, keepdim=True), current, shifted)
        modes[moving] = shifted
        # The step keeps the sign of m (every summand has a positive product with it).
        moving = moving[(shifted - current).norm(dim=-1) > tolerance]
    return canonical_sign(modes)


def window_support(points: Tensor, modes: Tensor, bandwidth_deg: float = 45.0) -> Tensor:
    """Points in the window of each mode, (M,) int64."""
    cosine = math.cos(math.radians(bandwidth_deg))
    support = torch.zeros(len(modes), dtype=torch.int64, device=points.device)
    for part in torch.split(points, _CHUNK):
        support += ((modes @ part.mT).abs() >= cosine).sum(1)
    return support


def merge_modes(
    modes: Tensor, support: Tensor, bandwidth_deg: float = 45.0, min_support: int = MIN_SUPPORT
) -> Modes:
    """Keep modes by descending support unless within the bandwidth of a kept one.

    Equal support is decided by position. Kept modes below `min_support` are dropped.
    """
    cosine = math.cos(math.radians(bandwidth_deg))
    order = support.argsort(descending=True, stable=True)
    order = order[support[order] >= min_support]
    lines = modes[order]
    kept: list[int] = []
    # Seeds that reached one mode differ by rounding only; passing over them leaves few comparisons.
    free = torch.ones(len(lines), dtype=torch.bool, device=lines.device)
    while free.any():
        first = int(free.nonzero()[0])
        kept.append(first)
        free &= (lines @ lines[first]).abs() < cosine
        free[first] = False
    chosen = torch.tensor(kept, dtype=torch.long, device=lines.device)
    return Modes(lines[chosen], support[order][chosen])


def assign(points: Tensor, modes: Tensor) -> tuple[Tensor, Tensor]:
    """Nearest mode by |cos|, the earliest of ties: (N,) index and (N,) |cos|; needs a mode."""
    index, score = [], []
    for part in torch.split(points, _CHUNK):
        similarity = (part @ modes.mT).abs()
        score.append(similarity.amax(1))
        # argmax does not promise the first of equal values.
        position = torch.arange(len(modes), device=modes.device).expand_as(similarity)
        nearest = similarity == score[-1].unsqueeze(1)
        index.append(torch.where(nearest, position, len(modes)).amin(1))
    return torch.cat(index), torch.cat(score)


def number_by_appearance(index: Tensor) -> Tensor:
    """Renumber the values of (N,) `index` from 1 by first appearance; negatives become 0."""
    valid = index >= 0
    values, inverse = torch.unique(index[valid], return_inverse=True)
    position = torch.arange(len(inverse), device=index.device)
    first = torch.full_like(values, len(inverse), dtype=torch.int64)
    first = first.scatter_reduce(0, inverse, position, "amin")
    number = torch.empty_like(values)
    ranks = torch.arange(1, len(values) + 1, device=index.device, dtype=values.dtype)
    number[first.argsort()] = ranks
    labels = torch.zeros_like(index)
    labels[valid] = number[inverse]
    return labels


def exact_modes(
    points: Tensor, bandwidth_deg: float = 45.0, min_support: int = MIN_SUPPORT
) -> Modes:
    """Modes of the exact partition: every point a seed."""
    seeds = points[points.any(1)]
    modes = mean_shift(points, seeds, bandwidth_deg)
    support = window_support(points, modes, bandwidth_deg)
    return merge_modes(modes, support, bandwidth_deg, min_support)


def exact_partition(
    features: Tensor, bandwidth_deg: float = 45.0, min_support: int = MIN_SUPPORT
) -> Tensor:
    """The partition that every fast version must find (equations.md, section 10).

    Args:
        features: (D, H, W); computed in float64.
        bandwidth_deg: half opening angle of the window, in (0, 45].
        min_support: pixels a mode needs in its window.

    Returns:
        (H, W) int64 labels from 1, numbered in order of first appearance.
    """
    points = normalise(features.double().flatten(1).mT, dim=-1)
    modes = exact_modes(points, bandwidth_deg, min_support)
    if not len(modes.lines):
        return torch.ones(features.shape[1:], dtype=torch.int64, device=features.device)
    index, _ = assign(points, modes.lines)
    return number_by_appearance(index).view(features.shape[1:])


def seeded_modes(
    points: Tensor,
    bandwidth_deg: float = 45.0,
    min_support: int = MIN_SUPPORT,
    seeds: int = 64,
    rounds: int = 6,
    working_set: int = 1 << 15,
) -> Modes:
    """Modes from few seeds, in a fixed number of deterministic rounds.

    Each round starts from pixels that no mode covers yet, evenly spaced in raster order, so the
    second round already looks for what the first has missed. Modes climb on a weighted subset of
    the points (evenly spaced too, covered and uncovered apart, so that small clusters stay whole)
    and are measured on all of them.

    Args:
        points: (N, D) unit lines.
        bandwidth_deg: half opening angle of the window, in (0, 45].
        min_support: points a mode needs in its window.
        seeds: per round.
        rounds: fixed number of rounds.
        working_set: points per half of the subset.
    """
    cosine = math.cos(math.radians(bandwidth_deg))
    candidates = points.any(1)
    uncovered = candidates.clone()
    found = points.new_empty(0, points.shape[1])
    support = torch.empty(0, dtype=torch.int64, device=points.device)
    kept = Modes(found, support)
    for _ in range(rounds):
        open_points = uncovered.nonzero().squeeze(1)
        if len(open_points) < min_support:
            break
        covered_points = (candidates & ~uncovered).nonzero().squeeze(1)
        subset, weights = [], []
        for group in (open_points, covered_points):
            chosen = evenly_spaced(group, working_set)
            subset.append(points[chosen])
            weights.append(points.new_full((len(chosen),), len(group) / max(1, len(chosen))))
        starts = points[evenly_spaced(open_points, seeds)]
        tolerance = 1e-6 if points.dtype == torch.float32 else 1e-10
        modes = mean_shift(
            torch.cat(subset), starts, bandwidth_deg, torch.cat(weights), tolerance, max_steps=50
        )
        # Only distinct ones need to be measured on all points.
        modes = merge_modes(modes, torch.arange(len(modes), 0, -1), bandwidth_deg / 4, 0).lines
        found = torch.cat([found, modes])
        support = torch.cat([support, window_support(points, modes, bandwidth_deg)])
        kept = merge_modes(found, support, bandwidth_deg, min_support)
        if len(modes):
            near = torch.cat(
                [(part @ modes.mT).abs().amax(1) for part in torch.split(points, _CHUNK)]
            )
            uncovered &= near < cosine
    return kept


def evenly_spaced(values: Tensor, count: int) -> Tensor:
    """At most `count` elements of a 1-D tensor at equal distances, the same ones every time."""
    if len(values) <= count:
        return values
    position = (torch.arange(count, device=values.device, dtype=torch.float64) + 0.5) / count
    return values[(position * len(values)).long()]
