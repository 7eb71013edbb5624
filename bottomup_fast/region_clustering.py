"""Mean shift within each region of an image on its own.

Where the foreground is known, its connected pieces are clustered separately: only lines of
neighbours have to differ, and an object is never cut because its line lies between those of two
others elsewhere in the image.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bottomup_fast import ops
from bottomup_fast.ops.library import has_op
from bottomup_fast.reference.clustering import (
    Modes,
    assign,
    evenly_spaced,
    merge_modes,
    seeded_modes,
    window_support,
)
from bottomup_fast.reference.lines import normalise

SEEDS = 16
"""Per region, in the first round; regions with more to find get `seeded_modes`."""
_TOLERANCE = 1e-3
_MAX_STEPS = 50
_BATCH_POINTS = 1 << 16


def cluster_regions(
    points: Tensor, regions: Tensor, bandwidth_deg: float, min_support: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Partition every region by the modes of its own points (eq. 10).

    Args:
        points: (N, D) of any length and sign.
        regions: (N,) integers from -1; every number from 0 to the largest occurs. A point of -1
            takes no part.
        bandwidth_deg: half opening angle of the window, degrees in (0, 45].
        min_support: points a mode needs in its window; a region without any is one cluster.

    Returns:
        index (N,) int32 of each point's mode, -1 where it takes no part, |cos| to it (N,), and the
        modes (M, D), those of one region after those of the one before. A region's only mode may be
        a zero line.
    """
    if points.device.type == "cpu" and has_op(points):
        return ops.cluster_regions(points, regions.int(), bandwidth_deg, min_support)
    members = (regions >= 0).nonzero().squeeze(1)
    numbers = regions[members]
    order = members[numbers.argsort(stable=True)]
    lines = normalise(points[order], dim=-1)
    sizes = torch.bincount(numbers)
    position, similarity, modes = _cluster_in_torch(lines, sizes, bandwidth_deg, min_support)
    index = points.new_full((len(points),), -1, dtype=torch.int32).index_copy_(0, order, position)
    return index, similarity.new_zeros(len(points)).index_copy_(0, order, similarity), modes


def _cluster_in_torch(
    points: Tensor, sizes: Tensor, bandwidth_deg: float, min_support: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The same on any device, for unit lines sorted by region."""
    every = torch.arange(len(points), device=points.device)
    members = list(torch.split(every, sizes.tolist()))
    index = torch.zeros(len(points), dtype=torch.int32, device=points.device)
    cosine = torch.zeros(len(points), dtype=points.dtype, device=points.device)
    found: list[Tensor] = []
    count = 0
    for member, modes in zip(
        members, _modes_of(points, members, bandwidth_deg, min_support), strict=True
    ):
        lines = modes.lines if len(modes.lines) else points.new_zeros(1, points.shape[1])
        nearest, cosine[member] = assign(points[member], lines)
        index[member] = nearest.int() + count
        found.append(lines)
        count += len(lines)
    return index, cosine, torch.cat(found) if found else points.new_empty(0, points.shape[1])


def _modes_of(
    points: Tensor, members: list[Tensor], bandwidth_deg: float, min_support: int
) -> list[Modes]:
    """Modes of each region; regions of similar size climb together in one batch."""
    cosine = math.cos(math.radians(bandwidth_deg))
    by_size = sorted(range(len(members)), key=lambda region: len(members[region]))
    result: dict[int, Modes] = {}
    for batch in _batches(by_size, members):
        padded = torch.nn.utils.rnn.pad_sequence([points[members[r]] for r in batch], True)
        seeds = torch.nn.utils.rnn.pad_sequence(
            [points[evenly_spaced(members[r], SEEDS)] for r in batch], True
        )
        for region, climbed in zip(batch, _climb(padded, seeds, cosine), strict=True):
            own = points[members[region]]
            lines = climbed[climbed.any(1)]
            support = window_support(own, lines, bandwidth_deg)
            modes = merge_modes(lines, support, bandwidth_deg, min_support)
            covered = (own @ modes.lines.mT).abs() >= cosine
            if int((~covered.any(1)).sum()) >= min_support:
                modes = seeded_modes(own, bandwidth_deg, min_support)
            result[region] = modes
    return [result[region] for region in range(len(members))]


def _batches(by_size: list[int], members: list[Tensor]) -> list[list[int]]:
    """Runs of regions whose padded points stay below a bound."""
    batches: list[list[int]] = []
    for region in by_size:
        if batches and len(members[region]) * (len(batches[-1]) + 1) <= _BATCH_POINTS:
            batches[-1].append(region)
        else:
            batches.append([region])
    return batches


def _climb(points: Tensor, seeds: Tensor, cosine: float) -> Tensor:
    """Batched mean shift of (B, S, D) seeds on (B, N, D) points; zero rows are padding.

    A zero point lies in no window, and a zero seed stays zero.
    """
    modes = seeds
    for _ in range(_MAX_STEPS):
        similarity = modes @ points.mT
        shifted = normalise(torch.where(similarity.abs() >= cosine, similarity, 0) @ points, dim=-1)
        done = (shifted - modes).norm(dim=-1).max() <= _TOLERANCE
        modes = shifted
        if done:
            break
    return modes
