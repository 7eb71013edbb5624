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
_CACHED = 1 << 19
"""Similarities computed at a time: few enough to stay in a processor's cache."""
_SUBSETS = (1 << 12, 1 << 15)
_MIDDLE = 1 / 3
"""Part of the bandwidth within which a pixel is taken to climb to the mode it is near."""
_SAME, _SETTLED = 1 / 16, 1 / 256
"""Parts of the bandwidth within which modes are one, found on a subset and on all points."""


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
        rows = max(1, _CACHED // len(moving))
        for start in range(0, len(points), rows):
            part = points[start : start + rows]
            similarity = current @ part.mT
            inside = torch.where(similarity.abs() >= cosine, similarity, 0)
            if weights is not None:
                inside = inside * weights[start : start + rows]
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
    order = support.argsort(descending=True, stable=True)
    order = order[support[order] >= min_support]
    order = order[_leaders(modes[order], math.cos(math.radians(bandwidth_deg)))]
    return Modes(modes[order], support[order])


def _leaders(lines: Tensor, cosine: float) -> Tensor:
    """Positions of the lines that lie at |cos| below `cosine` from every earlier leader."""
    leaders: list[int] = []
    # Seeds that reached one mode differ by rounding only; passing over them leaves few comparisons.
    free = torch.ones(len(lines), dtype=torch.bool, device=lines.device)
    while free.any():
        first = int(free.nonzero()[0])
        leaders.append(first)
        free &= (lines @ lines[first]).abs() < cosine
        free[first] = False
    return torch.tensor(leaders, dtype=torch.long, device=lines.device)


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
    # Rounding takes a product of unit lines past 1.
    return torch.cat(index), torch.cat(score).clamp_max(1)


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
    seeds: int = 128,
    rounds: int = 6,
) -> Modes:
    """Modes from few seeds, in a fixed number of deterministic rounds.

    Each round starts from pixels outside the window of every mode kept so far, and from some inside
    but far from the middle: a mode between two others is reached only from there. Seeds climb on
    few points first, then on more and at last on all; only modes not known yet go on.

    Args:
        points: (N, D) unit lines.
        bandwidth_deg: half opening angle of the window, in (0, 45].
        min_support: points a mode needs in its window.
        seeds: per round, from inside of windows; from outside twice as many.
        rounds: fixed number of rounds.
    """
    window, middle, same, settled = (
        math.cos(math.radians(bandwidth_deg * part)) for part in (1, _MIDDLE, _SAME, _SETTLED)
    )
    points = points[points.any(1)]
    stages = [(size, same, 1e-2) for size in _SUBSETS if size < len(points)]
    stages.append((len(points), settled, 1e-6 if points.dtype == torch.float32 else 1e-10))
    unused = torch.ones(len(points), dtype=torch.bool, device=points.device)
    nearest = points.new_zeros(len(points))
    found = points.new_empty(0, points.shape[1])
    support = seeds_of_found = torch.empty(0, dtype=torch.int64, device=points.device)
    kept = Modes(found, support)
    for _ in range(rounds):
        covered = nearest >= window
        outside = (unused & ~covered).nonzero().squeeze(1)
        between = (unused & covered & (nearest < middle)).nonzero().squeeze(1)
        starts = torch.cat([evenly_spaced(outside, 2 * seeds), evenly_spaced(between, seeds)])
        if not len(starts):
            break
        unused[starts] = False
        starts = starts.sort().values
        modes = points[starts]
        for size, cosine, tolerance in stages:
            subset, weights = _subset(points, covered, size)
            modes = mean_shift(subset, modes, bandwidth_deg, weights, tolerance, max_steps=50)
            unknown = _leaders(torch.cat([found, modes]), cosine) - len(found)
            unknown = unknown[unknown >= 0]
            modes, starts = modes[unknown], starts[unknown]
        if not len(modes):
            continue
        seeds_of_found, order = torch.cat([seeds_of_found, starts]).sort()
        found = torch.cat([found, modes])[order]
        support = torch.cat([support, window_support(points, modes, bandwidth_deg)])[order]
        kept = merge_modes(found, support, bandwidth_deg, min_support)
        if len(kept.lines):
            parts = torch.split(points, _CHUNK)
            nearest = torch.cat([(part @ kept.lines.mT).abs().amax(1) for part in parts])
    return kept


def _subset(points: Tensor, covered: Tensor, size: int) -> tuple[Tensor, Tensor | None]:
    """Up to `size` covered and as many uncovered points, so that small clusters stay whole.

    The weights make up for the points left out.
    """
    if size >= len(points):
        return points, None
    groups = [group.nonzero().squeeze(1) for group in (~covered, covered)]
    chosen = [evenly_spaced(group, size) for group in groups]
    weights = [
        points.new_full((len(some),), len(group) / max(1, len(some)))
        for group, some in zip(groups, chosen, strict=True)
    ]
    return points[torch.cat(chosen)], torch.cat(weights)


def evenly_spaced(values: Tensor, count: int) -> Tensor:
    """At most `count` elements of a 1-D tensor at equal distances, the same ones every time."""
    if len(values) <= count:
        return values
    middles = 2 * torch.arange(count, device=values.device) + 1
    return values[middles * len(values) // (2 * count)]
