"""The two ways the field assigns predicted segments to true ones, and measures of the counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

from bottomup_fast.evaluation.overlaps import Overlaps


class MatchCounts(NamedTuple):
    """Segments matched and left over at one IoU threshold."""

    true_positives: int
    false_positives: int
    false_negatives: int


def accuracy(counts: MatchCounts) -> float:
    """TP / (TP + FP + FN), or 1 where there is neither prediction nor truth."""
    total = sum(counts)
    return counts.true_positives / total if total else 1.0


def f1(counts: MatchCounts) -> float:
    """2 TP / (2 TP + FP + FN), or 1 where there is neither prediction nor truth."""
    total = counts.true_positives + sum(counts)
    return 2 * counts.true_positives / total if total else 1.0


def over_images(
    measure: Callable[[MatchCounts], float], counts: Sequence[MatchCounts], per_image: bool
) -> float:
    """Average `measure` over the images, or take it of the counts of all images together."""
    if per_image:
        return float(np.mean([measure(image) for image in counts]))
    return measure(MatchCounts(*(sum(column) for column in zip(*counts, strict=True))))


def optimal_counts(overlaps: Overlaps, threshold: float) -> MatchCounts:
    """Match as many pairs of IoU >= threshold as possible, each segment at most once.

    StarDist (`stardist.matching.matching`) and Cellpose (`cellpose.metrics.average_precision`)
    solve an assignment that maximises the number of such pairs first and their IoU second; the
    number alone is the size of a maximum bipartite matching.
    """
    good = overlaps.iou >= threshold
    graph = sparse.csr_array(
        (np.ones(int(good.sum())), (overlaps.true[good], overlaps.pred[good])),
        shape=(overlaps.num_true, overlaps.num_pred),
    )
    matched = int((csgraph.maximum_bipartite_matching(graph, perm_type="column") >= 0).sum())
    return MatchCounts(matched, overlaps.num_pred - matched, overlaps.num_true - matched)


def ranked_hits(
    overlaps: Overlaps, order: NDArray[np.int64], threshold: float
) -> NDArray[np.bool_]:
    """COCO's matching: each prediction in turn takes the free true segment of highest IoU.

    Args:
        overlaps: IoU of the image's pairs.
        order: (R,) positions of the predictions, best first; those left out match nothing.
        threshold: lowest IoU of a match.

    Returns:
        (R,) whether the prediction of each rank took a true segment.
    """
    ranks = np.full(overlaps.num_pred, -1)
    ranks[order] = np.arange(len(order))
    rank = ranks[overlaps.pred]
    good = (rank >= 0) & (overlaps.iou >= threshold)
    rank, true, iou = rank[good], overlaps.true[good], overlaps.iou[good]
    # Of equal IoUs, COCO's evaluation takes the later true segment.
    by_preference = np.lexsort((-true, -iou, rank))
    hits = np.zeros(len(order), dtype=np.bool_)
    taken = np.zeros(overlaps.num_true, dtype=np.bool_)
    for r, t in zip(rank[by_preference].tolist(), true[by_preference].tolist(), strict=True):
        if not hits[r] and not taken[t]:
            hits[r] = taken[t] = True
    return hits
