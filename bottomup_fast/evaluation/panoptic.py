"""Panoptic quality of segments without classes, matched as panopticapi matches them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bottomup_fast.evaluation.inputs import LabelMaps, check_images
from bottomup_fast.evaluation.overlaps import IGNORE, pair_segments, segment_overlaps

_MATCH_IOU = 0.5
_VOID_SHARE = 0.5


@dataclass(frozen=True)
class PanopticQuality:
    """Counts over a data set, and the IoU of the matched pairs, summed.

    Two segments match if their IoU is above 0.5, which a segment of a label map can have with one
    other only: no assignment is needed.
    """

    true_positives: int
    false_positives: int
    false_negatives: int
    iou: float

    @property
    def recognition(self) -> float | None:
        """RQ, the F1 of the matches; None without segments."""
        twice = 2 * self.true_positives + self.false_positives + self.false_negatives
        return 2 * self.true_positives / twice if twice else None

    @property
    def segmentation(self) -> float | None:
        """SQ, the mean IoU of the matches; None without a match."""
        return self.iou / self.true_positives if self.true_positives else None

    @property
    def quality(self) -> float | None:
        """PQ = SQ RQ; None without segments."""
        recognition = self.recognition
        return None if recognition is None else recognition * (self.segmentation or 0.0)


def panoptic_quality(pred: LabelMaps, true: LabelMaps, *, ignore: int = IGNORE) -> PanopticQuality:
    """Panoptic quality (Kirillov et al., CVPR 2019) with all segments of one class.

    As in panopticapi, ignored pixels belong to no union, and an unmatched prediction of which more
    than half is ignored counts as nothing. Crowds are to be ignored pixels.

    Args:
        pred: (H, W) integers, or a sequence of such maps; labels above 0 are segments.
        true: the same shapes; labels above 0 are segments, 0 is background.
        ignore: true label of pixels left out.

    Raises:
        InputError: numbers of images, shapes or dtypes do not fit, or a true label is negative and
            not `ignore`.
    """
    matched = false_positives = false_negatives = 0
    total = 0.0
    for pred_labels, true_labels in check_images(pred, true, "pred", "true"):
        pair = pair_segments(pred_labels, true_labels, ignore, true_name="true")
        overlaps = segment_overlaps(pair)
        match = overlaps.iou > _MATCH_IOU
        area = np.bincount(np.maximum(pred_labels, 0).ravel(), minlength=pair.max_pred_label + 1)
        left = np.bincount(pair.pred_index.ravel(), minlength=len(pair.pred_labels) + 1)[1:]
        counts = left >= (1 - _VOID_SHARE) * area[pair.pred_labels]
        counts[overlaps.pred[match]] = False
        matched += int(match.sum())
        false_positives += int(counts.sum())
        false_negatives += pair.num_true - int(match.sum())
        total += float(overlaps.iou[match].sum())
    return PanopticQuality(matched, false_positives, false_negatives, total)
