"""What the measures accept: label maps, scores and thresholds, checked once here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bottomup_fast.errors import InputError

LabelMap: TypeAlias = NDArray[np.integer[Any]]
LabelMaps: TypeAlias = LabelMap | Sequence[LabelMap]
"""One image (H, W), or a data set: a stack (N, H, W) or a sequence of maps of any sizes."""

ImageScores: TypeAlias = Mapping[int, float] | ArrayLike
"""Scores of one image: label -> score, or an array with the score of label at `label - 1`."""

Scores: TypeAlias = ImageScores | Sequence[ImageScores]


def is_single_image(labels: LabelMaps) -> bool:
    """Whether `labels` is one (H, W) map rather than a data set."""
    return isinstance(labels, np.ndarray) and labels.ndim == 2


def check_label_map(labels: LabelMap, name: str) -> LabelMap:
    """Return `labels` if it is a non-empty integer (H, W) map, else raise InputError."""
    labels = np.asarray(labels)
    if labels.ndim != 2:
        raise InputError(f"{name}: expected a label map (H, W), got shape {labels.shape}")
    if labels.size == 0:
        raise InputError(f"{name}: the image has no pixels, shape {labels.shape}")
    if not np.issubdtype(labels.dtype, np.integer):
        raise InputError(f"{name}: expected an integer dtype, got {labels.dtype}")
    return labels


def check_images(
    pred: LabelMaps, true: LabelMaps, pred_name: str, true_name: str
) -> list[tuple[LabelMap, LabelMap]]:
    """The checked (prediction, truth) maps of every image; one image is a data set of one."""
    single = is_single_image(pred)
    if single != is_single_image(true):
        raise InputError(f"{pred_name}: is one image and {true_name} a data set, or the reverse")
    preds, trues = ([pred], [true]) if single else (pred, true)
    if len(preds) != len(trues):
        raise InputError(f"{pred_name}: {len(preds)} images, but {true_name} has {len(trues)}")
    if len(preds) == 0:
        raise InputError(f"{pred_name}: no images")
    images = []
    for i, (p, t) in enumerate(zip(preds, trues, strict=True)):
        at = "" if single else f"[{i}]"
        p, t = check_label_map(p, pred_name + at), check_label_map(t, true_name + at)
        if p.shape != t.shape:
            raise InputError(f"{pred_name}{at}: shape {p.shape}, but {true_name}{at} has {t.shape}")
        images.append((p, t))
    return images


def _numbers(values: Any, name: str) -> NDArray[np.float64]:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{name}: expected numbers") from None


def check_thresholds(thresholds: ArrayLike, name: str = "thresholds") -> tuple[float, ...]:
    """IoU thresholds as a tuple, each in (0, 1]."""
    values = np.atleast_1d(_numbers(thresholds, name))
    if values.ndim != 1 or values.size == 0:
        raise InputError(f"{name}: expected a list of numbers, got shape {values.shape}")
    outside = values[~((values > 0) & (values <= 1))]
    if outside.size:
        raise InputError(f"{name}: {outside[0]} is outside (0, 1]")
    return tuple(values.tolist())


def split_scores(scores: Scores | None, pred: LabelMaps) -> list[ImageScores | None]:
    """One entry of scores for each image of `pred`; None for each where none are given."""
    single = is_single_image(pred)
    num_images = 1 if single else len(pred)
    if scores is None:
        return [None] * num_images
    if single:
        return [cast(ImageScores, scores)]
    if isinstance(scores, Mapping) or not hasattr(scores, "__len__"):
        raise InputError("scores: expected a sequence with one entry for each image")
    entries: list[ImageScores | None] = list(cast(Sequence[ImageScores], scores))
    if len(entries) != num_images:
        raise InputError(f"scores: {len(entries)} entries for {num_images} images")
    return entries


def label_scores(
    scores: ImageScores | None, labels: NDArray[np.int64], max_label: int, name: str = "scores"
) -> NDArray[np.float64]:
    """Scores of `labels`, in their order; 1 for each where none are given.

    Args:
        scores: of one image.
        labels: (P,) labels above 0.
        max_label: the highest label of the map; an array must have exactly that many scores, so
            that one which begins with the background's does not pass unnoticed.
        name: how to call `scores` in an error.
    """
    if scores is None:
        return np.ones(len(labels))
    if isinstance(scores, Mapping):
        missing = [label for label in labels.tolist() if label not in scores]
        if missing:
            raise InputError(f"{name}: no score for label {missing[0]}")
        chosen = _numbers([scores[label] for label in labels.tolist()], name)
    else:
        array = _numbers(scores, name)
        if array.shape != (max_label,):
            raise InputError(f"{name}: expected shape ({max_label},), got {array.shape}")
        chosen = array[labels - 1]
    if not np.isfinite(chosen).all():
        raise InputError(f"{name}: a score is not finite")
    return chosen
