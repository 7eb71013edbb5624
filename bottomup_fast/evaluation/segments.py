"""The paper's measures: how well true segments are recovered, whatever else is predicted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from bottomup_fast.errors import InputError
from bottomup_fast.evaluation.boundary import boundary_overlaps
from bottomup_fast.evaluation.inputs import LabelMaps
from bottomup_fast.evaluation.overlaps import (
    BACKGROUND,
    IGNORE,
    Overlaps,
    pair_images,
    segment_overlaps,
)

RECALL_IOU = 0.5


@dataclass(frozen=True)
class SegmentMetrics:
    """Means over all true segments of a data set; None where it has none.

    Attributes:
        recall: share of true segments that some predicted segment has an IoU above 0.5 with.
        miou: mean IoU with the best predicted segment.
        boundary_iou: mean Boundary IoU with that best predicted segment.
        segments: number of true segments.
    """

    recall: float | None
    miou: float | None
    boundary_iou: float | None
    segments: int

    def as_dict(self) -> dict[str, float | int | None]:
        """The metrics by name, fit for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class BestMatches:
    """IoU and Boundary IoU, each (G,), of an image's true segments with their best predictions."""

    iou: NDArray[np.float64]
    boundary_iou: NDArray[np.float64]


def best_matches(overlaps: Overlaps, bands: Overlaps) -> BestMatches:
    """Find the prediction of highest IoU for each true segment of an image.

    Of predictions with equal IoU the one of higher Boundary IoU counts, so that the result does not
    depend on how segments are numbered. A segment that no prediction touches gets 0 and 0.

    Args:
        overlaps: of the segments.
        bands: of their boundary regions.
    """
    # Bands overlap only where their masks do, and both lists have the same order.
    at = np.searchsorted(
        overlaps.true * overlaps.num_pred + overlaps.pred, bands.true * bands.num_pred + bands.pred
    )
    boundary_iou = np.zeros_like(overlaps.iou)
    boundary_iou[at] = bands.iou
    order = np.lexsort((boundary_iou, overlaps.iou, overlaps.true))
    last = np.flatnonzero(np.diff(overlaps.true[order], append=overlaps.num_true))
    winners = order[last]
    best = BestMatches(np.zeros(overlaps.num_true), np.zeros(overlaps.num_true))
    best.iou[overlaps.true[winners]] = overlaps.iou[winners]
    best.boundary_iou[overlaps.true[winners]] = boundary_iou[winners]
    return best


def pool_segments(images: Sequence[BestMatches]) -> SegmentMetrics:
    """Average over the true segments of all images together."""
    iou = np.concatenate([image.iou for image in images])
    boundary_iou = np.concatenate([image.boundary_iou for image in images])
    if iou.size == 0:
        return SegmentMetrics(None, None, None, 0)
    recall = float((iou > RECALL_IOU).mean())
    return SegmentMetrics(recall, float(iou.mean()), float(boundary_iou.mean()), iou.size)


def evaluate_segments(
    pred_labels: LabelMaps,
    true_labels: LabelMaps,
    *,
    ignore: int = IGNORE,
    background: int = BACKGROUND,
) -> SegmentMetrics:
    """Recall, mIoU and Boundary IoU of one image or a data set, as in the paper's evaluation.

    All true segments of the data set count alike, however many their image has. Predicted segments
    that match nothing do no harm: false positives are not counted.

    Args:
        pred_labels: (H, W) integers, or a sequence of such maps; labels above 0 are segments.
        true_labels: the same shapes; every label but `ignore` and `background` is a segment.
        ignore: true label of pixels left out of everything: predicted segments lose their pixels
            there before anything is measured.
        background: true label of pixels that belong to no segment.

    Raises:
        InputError: numbers of images, shapes or dtypes do not fit, or a true label is negative and
            neither `ignore` nor `background`.
    """
    pairs = pair_images(pred_labels, true_labels, "pred_labels", "true_labels", ignore, background)
    return pool_segments(
        [best_matches(segment_overlaps(pair), boundary_overlaps(pair)) for pair in pairs]
    )


def relative_improvement(recalls: Mapping[str, float]) -> dict[str, float]:
    """Recall of each method against the weakest one's, as in the paper's tables.

    Args:
        recalls: method -> recall, above 0.

    Returns:
        method -> improvement in %, 0 for the weakest.

    Raises:
        InputError: there is no method, or a recall is not a finite number above 0.
    """
    if not recalls:
        raise InputError("recalls: no methods")
    for method, recall in recalls.items():
        if not (math.isfinite(recall) and recall > 0):
            raise InputError(f"recalls: {method!r} has {recall}, not a finite number above 0")
    weakest = min(recalls.values())
    return {method: 100 * (recall / weakest - 1) for method, recall in recalls.items()}
