"""Label maps: numbering, connected pieces, borders."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label

from bottomup_fast.errors import InputError

LabelMap: TypeAlias = NDArray[np.int32]


def as_label_map(labels: NDArray[Any], *, lowest: int = -1, name: str = "labels") -> LabelMap:
    """Return `labels` as an int32 map (H, W), not copied if it is one.

    Raises InputError, with `name`, unless it is a non-empty 2-D integer array of values from
    `lowest` up.
    """
    labels = np.asarray(labels)
    if labels.ndim != 2 or labels.size == 0:
        raise InputError(f"{name}: expected a non-empty map (H, W), got shape {labels.shape}")
    if labels.dtype.kind not in "iu":
        raise InputError(f"{name}: expected integers, got {labels.dtype}")
    smallest, largest = labels.min(), labels.max()
    if smallest < lowest or largest > np.iinfo(np.int32).max:
        raise InputError(
            f"{name}: values {smallest}..{largest}, expected at least {lowest} and at most 2^31 - 1"
        )
    return labels.astype(np.int32, copy=False)


def constant_runs(values: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return start and length of every maximal run of equal values in a non-empty 1-D array."""
    changes = np.flatnonzero(values[1:] != values[:-1]) + 1
    starts = np.concatenate(([0], changes))
    return starts, np.diff(starts, append=values.size)


def relabel_by_appearance(labels: NDArray[Any]) -> LabelMap:
    """Number the labels of a map (H, W) 1..n by first appearance in raster order; 0, -1 stay.

    Raises InputError as `as_label_map` does.
    """
    labels = as_label_map(labels)
    flat = labels.ravel()
    starts, lengths = constant_runs(flat)
    values, first, run_value = np.unique(flat[starts], return_index=True, return_inverse=True)
    numbers = values.copy()
    positive = np.flatnonzero(values > 0)
    numbers[positive[np.argsort(first[positive])]] = np.arange(1, positive.size + 1)
    return np.repeat(numbers[run_value], lengths).reshape(labels.shape)


def split_components(labels: NDArray[Any], *, connectivity: int = 1) -> LabelMap:
    """Make every connected piece of every label of a map (H, W) a segment of its own.

    `connectivity` is 1 for 4 neighbours or 2 for 8. Pieces are numbered 1..n by first appearance
    in raster order; 0 and -1 stay. Raises InputError as `as_label_map` does, or for another
    connectivity.
    """
    labels = as_label_map(labels)
    if connectivity not in (1, 2):
        raise InputError(f"connectivity: expected 1 or 2, got {connectivity}")
    pieces = label(  # type: ignore[no-untyped-call]
        np.maximum(labels, 0), background=0, connectivity=connectivity
    )
    return np.where(labels < 0, np.int32(-1), pieces.astype(np.int32, copy=False))


def shared_borders(labels: LabelMap) -> defaultdict[int, defaultdict[int, int]]:
    """Return `borders[a][b]`, the number of 4-neighbour pixel pairs of labels a != b, both >= 0."""
    base = int(labels.max()) + 1
    pairs = []
    for one, other in ((labels[:, 1:], labels[:, :-1]), (labels[1:], labels[:-1])):
        touch = (one != other) & (one >= 0) & (other >= 0)
        one, other = one[touch], other[touch]
        low, high = np.minimum(one, other), np.maximum(one, other)
        pairs.append(low.astype(np.int64) * base + high)
    borders: defaultdict[int, defaultdict[int, int]] = defaultdict(lambda: defaultdict(int))
    touching, lengths = np.unique(np.concatenate(pairs), return_counts=True)
    for pair, length in zip(touching.tolist(), lengths.tolist(), strict=True):
        low_label, high_label = divmod(pair, base)
        borders[low_label][high_label] = borders[high_label][low_label] = length
    return borders
