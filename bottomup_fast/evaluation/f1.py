"""F1 of predicted segments at one IoU, the measure of cell segmentation challenges."""

from __future__ import annotations

from bottomup_fast.evaluation.inputs import LabelMaps, check_thresholds
from bottomup_fast.evaluation.matching import f1, optimal_counts, over_images
from bottomup_fast.evaluation.overlaps import IGNORE, pair_images, segment_overlaps


def f1_score(
    pred: LabelMaps,
    true: LabelMaps,
    threshold: float = 0.5,
    per_image: bool = True,
    *,
    ignore: int = IGNORE,
) -> float:
    """2 TP / (2 TP + FP + FN) at IoU >= threshold under an optimal matching.

    Args:
        pred: (H, W) integers, or a sequence of such maps; labels above 0 are segments.
        true: the same shapes; labels above 0 are segments, 0 is background.
        threshold: IoU in (0, 1].
        per_image: average over images, one with neither prediction nor truth counting 1, rather
            than count over all of them.
        ignore: true label of pixels left out of everything.

    Raises:
        InputError: numbers of images, shapes or dtypes do not fit, a true label is negative and not
            `ignore`, or the threshold is outside (0, 1].
    """
    iou = check_thresholds(threshold, "threshold")[0]
    pairs = pair_images(pred, true, "pred", "true", ignore)
    return over_images(f1, [optimal_counts(segment_overlaps(p), iou) for p in pairs], per_image)
