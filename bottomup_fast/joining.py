"""Joining the parts of large objects: a coarser look at an image says which segments are one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bottomup_fast.components import (
    LabelMap,
    as_label_map,
    relabel_by_appearance,
    shared_pixels,
)
from bottomup_fast.errors import InputError


def join_fragments(labels: NDArray[Any], coarse: NDArray[Any], *, min_area: float) -> LabelMap:
    """Join the segments that lie in one segment of a coarser label map.

    An object much larger than those a network was trained on falls into parts; seen smaller, it is
    whole. A segment belongs to the coarser one that holds more than half of its pixels, and those
    that belong to the same one become one segment, with the outline that they had. Coarser segments
    below `min_area` join nothing: what is small there is seen better in `labels`.

    Args:
        labels: (H, W) integers; 0 is background, which stays.
        coarse: (H, W) integers; 0 is no segment.
        min_area: pixels of (H, W).

    Returns:
        (H, W) int32, numbered 1..n by first appearance in raster order.

    Raises:
        InputError: maps that are no label maps or differ in shape, or an area below 0.
    """
    labels = relabel_by_appearance(as_label_map(labels, lowest=0))
    coarse = relabel_by_appearance(as_label_map(coarse, lowest=0, name="coarse"))
    if labels.shape != coarse.shape:
        raise InputError(f"coarse: shape {coarse.shape} differs from that of labels {labels.shape}")
    if not min_area >= 0:
        raise InputError(f"min_area: must not be negative, got {min_area}")
    shared = shared_pixels(labels, coarse)
    segment, holder = shared.row, shared.col
    area, coarse_area = shared.sum(axis=1), shared.sum(axis=0)
    belongs = (segment > 0) & (holder > 0)
    # More than half of a segment is in one at most, so that no order decides.
    belongs &= (2 * shared.data > area[segment]) & (coarse_area[holder] >= min_area)
    joined = np.arange(len(area))
    joined[segment[belongs]] = len(area) + holder[belongs]
    return relabel_by_appearance(joined[labels])
