"""The segments of a prediction and of the truth, numbered, and the IoU of every pair of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from bottomup_fast.errors import InputError
from bottomup_fast.evaluation.inputs import LabelMap, LabelMaps, check_images, is_single_image

IGNORE = -1
BACKGROUND = 0


@dataclass(frozen=True)
class SegmentPair:
    """Prediction and truth of one image, their segments numbered without gaps.

    Attributes:
        pred_index: (H, W), 1..P, or 0 where no predicted segment counts.
        true_index: (H, W), 1..G, or 0 where there is no true segment.
        pred_labels: (P,) labels of the predicted segments, ascending.
        num_true: G.
        max_pred_label: highest label of the prediction, where it counts or not; 0 if none.
    """

    pred_index: NDArray[np.int64]
    true_index: NDArray[np.int64]
    pred_labels: NDArray[np.int64]
    num_true: int
    max_pred_label: int


@dataclass(frozen=True)
class Overlaps:
    """IoU of the overlapping pairs of one image; all other pairs have IoU 0.

    Attributes:
        true: (N,) position of the true segment, 0..num_true-1, ascending.
        pred: (N,) position of the predicted segment, 0..num_pred-1, ascending within a `true`.
        iou: (N,) in (0, 1].
        num_true: G.
        num_pred: P.
    """

    true: NDArray[np.int64]
    pred: NDArray[np.int64]
    iou: NDArray[np.float64]
    num_true: int
    num_pred: int


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


def _number(labels: LabelMap, values: NDArray[Any], counts: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Renumber those of the sorted `values` that count to 1..n, the others to 0."""
    number = np.where(counts, np.cumsum(counts), 0)
    return number[np.searchsorted(values, labels)]


def pair_segments(
    pred: LabelMap,
    true: LabelMap,
    ignore: int = IGNORE,
    background: int = BACKGROUND,
    true_name: str = "true_labels",
) -> SegmentPair:
    """Number the segments of one image; predictions are erased where the truth is `ignore`.

    Args:
        pred: (H, W); labels above 0 are segments.
        true: (H, W); every label but `ignore` and `background` is a segment.
        ignore: label of pixels that take part in nothing.
        background: label of pixels that belong to no segment.
        true_name: how to call `true` in an error.

    Raises:
        InputError: `true` has a negative label that is neither `ignore` nor `background`.
    """
    true_values = np.unique(true)
    true_counts = (true_values != ignore) & (true_values != background)
    if true_values[true_counts].min(initial=0) < 0:
        label = true_values[true_counts][0]
        raise InputError(
            f"{true_name}: label {label} is negative, and the ignore label is {ignore}"
        )
    max_pred_label = max(0, int(pred.max()))
    pred = np.where(true == ignore, 0, pred)
    pred_values = np.unique(pred)
    pred_counts = pred_values > 0
    return SegmentPair(
        pred_index=_number(pred, pred_values, pred_counts),
        true_index=_number(true, true_values, true_counts),
        pred_labels=pred_values[pred_counts].astype(np.int64),
        num_true=int(true_counts.sum()),
        max_pred_label=max_pred_label,
    )


def pair_images(
    pred: LabelMaps,
    true: LabelMaps,
    pred_name: str,
    true_name: str,
    ignore: int = IGNORE,
    background: int = BACKGROUND,
) -> Iterator[SegmentPair]:
    """Check one image or a whole data set, then number image by image; see `pair_segments`."""
    single = is_single_image(pred)
    for i, (p, t) in enumerate(check_images(pred, true, pred_name, true_name)):
        name = true_name if single else f"{true_name}[{i}]"
        yield pair_segments(p, t, ignore, background, name)


def index_overlaps(
    pred_index: NDArray[np.int64], true_index: NDArray[np.int64], num_pred: int, num_true: int
) -> Overlaps:
    """IoU of the overlapping pairs, in one pass over the pixels.

    Args:
        pred_index: (H, W), 1..num_pred, or 0 for no segment.
        true_index: (H, W), 1..num_true, or 0 for no segment.
        num_pred: P.
        num_true: G.
    """
    true_pixels, pred_pixels = true_index.ravel(), pred_index.ravel()
    shared = shared_pixels(true_pixels, pred_pixels)
    segments = (shared.row > 0) & (shared.col > 0)
    true, pred, intersection = shared.row[segments], shared.col[segments], shared.data[segments]
    true_area = np.bincount(true_pixels, minlength=num_true + 1)[true]
    pred_area = np.bincount(pred_pixels, minlength=num_pred + 1)[pred]
    return Overlaps(
        true=true.astype(np.int64) - 1,
        pred=pred.astype(np.int64) - 1,
        iou=intersection / (true_area + pred_area - intersection),
        num_true=num_true,
        num_pred=num_pred,
    )


def segment_overlaps(pair: SegmentPair) -> Overlaps:
    """IoU of the overlapping pairs of an image's segments."""
    return index_overlaps(pair.pred_index, pair.true_index, len(pair.pred_labels), pair.num_true)
