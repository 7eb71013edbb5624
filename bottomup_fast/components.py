"""Label maps as pieces: numbering, connected pieces, specks folded into their neighbours."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from skimage.measure import label

from bottomup_fast.errors import InputError

LabelMap: TypeAlias = NDArray[np.int32]
Similarity: TypeAlias = Callable[[int, int], float] | NDArray[np.floating[Any]]


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


def segment_means(labels: LabelMap, *values: NDArray[Any]) -> NDArray[np.float64]:
    """Means of each of `values`, (H, W), over each segment 1..n, (values, n); 0 without pixels."""
    # Runs of one label are far fewer than pixels.
    flat = labels.ravel()
    starts, lengths = constant_runs(flat)
    owner, count = flat[starts], int(flat.max()) + 1
    areas = np.maximum(np.bincount(owner, lengths, count), 1)
    means = np.empty((len(values), count))
    for mean, value in zip(means, values, strict=True):
        totals = np.add.reduceat(value.ravel(), starts, dtype=np.float64)
        mean[:] = np.bincount(owner, totals, count) / areas
    return means[:, 1:]


def shared_pixels(one: NDArray[Any], other: NDArray[Any]) -> sparse.coo_array:
    """Pixels that a label of one map (H, W), the row, and of another, the column, have in common.

    Labels are 0 or above. Each pair that occurs is there once, in ascending order.
    """
    table = sparse.csr_array(
        (np.ones(one.size, np.int64), (one.ravel(), other.ravel())),
        shape=(int(one.max(initial=0)) + 1, int(other.max(initial=0)) + 1),
    )
    table.sum_duplicates()
    return table.tocoo()


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


def fold_specks(
    labels: NDArray[Any], min_area: int, similarity: Similarity | None = None
) -> LabelMap:
    """Fold every segment of fewer than `min_area` pixels into the 4-neighbour it matches best.

    The smallest goes first (ties: the lowest label), until no speck is left that has a neighbour;
    background (0) is a neighbour like any other, ignored pixels (-1) are none. The best neighbour
    has the highest similarity, then the longest shared border, then the lowest label. Labels of
    folded segments are left unused: see `relabel_by_appearance`.

    `similarity` compares the lines of two labels, higher is closer: a function of (speck,
    neighbour), or an array (n + 1, n + 1) indexed by label, n = labels.max(), with the background
    as row and column 0 (-inf there keeps specks out of it). Without it the border decides.

    Raises InputError as `as_label_map` does, for a label above the number of pixels, or for a
    similarity of another shape or with NaN.
    """
    labels = as_label_map(labels)
    count = int(labels.max())
    if count > labels.size:
        raise InputError(f"labels: label {count} exceeds the number of pixels, {labels.size}")
    areas = np.bincount(labels[labels >= 0], minlength=count + 1)
    queue = [(int(areas[i]), int(i)) for i in np.flatnonzero((areas > 0) & (areas < min_area)) if i]
    if not queue:
        return labels.copy()
    closeness = _closeness(similarity, count)
    borders = shared_borders(labels)
    heapq.heapify(queue)
    folds: list[tuple[int, int]] = []
    while queue:
        area, speck = heapq.heappop(queue)
        if area != areas[speck] or not borders[speck]:
            continue
        _, _, negative_host = max(
            (closeness(speck, other), length, -other) for other, length in borders[speck].items()
        )
        host = -negative_host
        folds.append((speck, host))
        areas[host] += area
        areas[speck] = 0
        for other, length in borders.pop(speck).items():
            del borders[other][speck]
            if other != host:
                borders[host][other] += length
                borders[other][host] += length
        if host > 0 and areas[host] < min_area:
            heapq.heappush(queue, (int(areas[host]), host))
    final = np.arange(count + 2, dtype=np.int32)
    final[-1] = -1  # where label -1 indexes
    for speck, host in reversed(folds):
        final[speck] = final[host]
    return final[labels]


def _closeness(similarity: Similarity | None, count: int) -> Callable[[int, int], float]:
    if similarity is None:
        return lambda speck, other: 0.0
    if callable(similarity):
        return similarity
    table = np.asarray(similarity)
    if table.shape != (count + 1, count + 1) or np.isnan(table).any():
        raise InputError(
            f"similarity: expected shape {(count + 1, count + 1)} (row and column 0 the "
            f"background) without NaN, got shape {table.shape}"
        )
    return lambda speck, other: float(table[speck, other])


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
