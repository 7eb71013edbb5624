"""The two measures called average precision: COCO's, ranked by score, and TP / (TP + FP + FN).

They answer different questions and must never share a table.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bottomup_fast.errors import InputError
from bottomup_fast.evaluation.inputs import (
    LabelMaps,
    Scores,
    check_thresholds,
    is_single_image,
    label_scores,
    split_scores,
)
from bottomup_fast.evaluation.matching import accuracy, optimal_counts, over_images, ranked_hits
from bottomup_fast.evaluation.overlaps import IGNORE, pair_images, segment_overlaps

Kind: TypeAlias = Literal["coco", "matching"]

COCO_THRESHOLDS: tuple[float, ...] = tuple(np.linspace(0.5, 0.95, 10).tolist())
"""The IoUs 0.50:0.05:0.95, rounded as in COCO's own evaluation."""
COCO_RECALLS = np.linspace(0.0, 1.0, 101)
MAX_DETECTIONS = 2000


def check_kind(kind: str) -> None:
    """Raise InputError unless `kind` names one of the two measures."""
    if kind not in get_args(Kind):
        raise InputError(f"kind: {kind!r} is neither 'coco' nor 'matching'")


def descending(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Positions of the scores, highest first, ties in the given order."""
    return np.argsort(-scores, kind="stable")


def interpolated_precision(
    scores: NDArray[np.float64], hits: NDArray[np.bool_], num_true: int
) -> float | None:
    """Mean over 101 recalls of the best precision at that recall or a higher one.

    Args:
        scores: (N,) of all predictions of the data set; ties rank in the given order.
        hits: (N,) whether each took a true segment.
        num_true: number of true segments of the data set; None is returned for 0.
    """
    if num_true == 0:
        return None
    found = np.cumsum(hits[descending(scores)])
    precision = found / np.arange(1, len(found) + 1)
    best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    reached = np.searchsorted(found / num_true, COCO_RECALLS, side="left")
    return float(np.append(best_from_here, 0.0)[reached].mean())


def average_precision(
    pred: LabelMaps,
    true: LabelMaps,
    thresholds: ArrayLike,
    scores: Scores | None = None,
    kind: Kind = "coco",
    *,
    per_image: bool = True,
    max_detections: int = MAX_DETECTIONS,
    ignore: int = IGNORE,
) -> dict[float, float | None]:
    """Average precision of one image or a data set at each IoU threshold.

    kind "coco": COCO's average precision for one category, all areas, no crowds (pycocotools'
    `COCOeval`). Predictions are ranked by score over the data set; in each image they take, best
    first, the free true segment of highest IoU; precision is interpolated at 101 recalls. The
    result is None if the data set has no true segment.

    kind "matching": TP / (TP + FP + FN) at IoU >= threshold under an optimal matching, as
    StarDist's `matching_dataset` (there "accuracy") and Cellpose's `average_precision` define it.
    An image with neither prediction nor truth counts 1, where StarDist counts 0 and Cellpose NaN.

    Args:
        pred: (H, W) integers, or a sequence of such maps; labels above 0 are segments.
        true: the same shapes; labels above 0 are segments, 0 is background.
        thresholds: one or more IoUs, each in (0, 1].
        scores: for one image label -> score, or an array with the score of label at `label - 1`;
            for a data set a sequence of these. Only "coco" looks at them. Without them all are 1:
            the ranking is then that of images and labels, and the result says little.
        kind: which of the two measures.
        per_image: for "matching", average over images rather than count over all of them.
        max_detections: for "coco", how many predictions of an image count, best first.
        ignore: true label of pixels left out of everything.

    Returns:
        threshold -> average precision in [0, 1].

    Raises:
        InputError: numbers of images, shapes or dtypes do not fit, a true label is negative and not
            `ignore`, a threshold is outside (0, 1], `kind` is unknown, `max_detections` is below 1,
            or scores are missing, too many or not finite.
    """
    check_kind(kind)
    ious = check_thresholds(thresholds)
    if max_detections < 1:
        raise InputError(f"max_detections: {max_detections} is below 1")
    images = pair_images(pred, true, "pred", "true", ignore)
    if kind == "matching":
        overlaps = [segment_overlaps(pair) for pair in images]
        return {
            iou: over_images(accuracy, [optimal_counts(o, iou) for o in overlaps], per_image)
            for iou in ious
        }
    overlaps, orders, ranked = [], [], []
    for i, (image_scores, pair) in enumerate(zip(split_scores(scores, pred), images, strict=True)):
        name = "scores" if is_single_image(pred) else f"scores[{i}]"
        by_label = label_scores(image_scores, pair.pred_labels, pair.max_pred_label, name)
        orders.append(descending(by_label)[:max_detections])
        ranked.append(by_label[orders[-1]])
        overlaps.append(segment_overlaps(pair))
    num_true = sum(image.num_true for image in overlaps)
    return {
        iou: interpolated_precision(
            np.concatenate(ranked),
            np.concatenate([ranked_hits(o, r, iou) for o, r in zip(overlaps, orders, strict=True)]),
            num_true,
        )
        for iou in ious
    }
