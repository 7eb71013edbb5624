"""Every measure of a data set, overall and by group, as JSON-able dicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from bottomup_fast.data.dataset import Sample
from bottomup_fast.errors import InputError
from bottomup_fast.evaluation.average_precision import (
    COCO_THRESHOLDS,
    MAX_DETECTIONS,
    Kind,
    check_kind,
    descending,
    interpolated_precision,
)
from bottomup_fast.evaluation.boundary import boundary_overlaps
from bottomup_fast.evaluation.inputs import ImageScores, LabelMap, label_scores
from bottomup_fast.evaluation.masks import Segments, compare_masks
from bottomup_fast.evaluation.matching import (
    MatchCounts,
    accuracy,
    f1,
    optimal_counts,
    over_images,
    ranked_hits,
)
from bottomup_fast.evaluation.overlaps import Overlaps, pair_images, segment_overlaps
from bottomup_fast.evaluation.segments import BestMatches, best_matches, pool_segments
from bottomup_fast.segmentation import Segmentation

Metrics: TypeAlias = dict[str, float | int | None]

_AT_50, _AT_75 = COCO_THRESHOLDS.index(0.5), COCO_THRESHOLDS.index(0.75)


@dataclass(frozen=True)
class _Image:
    """What the measures need of an image once its label maps are gone.

    `scores` (R,) descending and `hits` (10, R) are of the ranked predictions; `counts` and `hits`
    are for each of `COCO_THRESHOLDS`.
    """

    group: str | None
    best: BestMatches
    counts: tuple[MatchCounts, ...]
    scores: NDArray[np.float64]
    hits: NDArray[np.bool_]


class DatasetReport:
    """Collects images one by one and measures them together; keeps no label map.

    The metrics, by name:
        images, segments: numbers of images and of true segments.
        recall, miou, boundary_iou: see `SegmentMetrics`.
        f1: mean over images at IoU 0.5, see `f1_score`.
        ap_matching_50, ap_matching_75, ap_matching: `average_precision` of kind "matching", at
            those IoUs in % and as the mean over 0.50:0.05:0.95.
        ap_coco_50, ap_coco_75, ap_coco: the same of kind "coco".
    None stands for what a set without true segments has no value of.
    """

    def __init__(self) -> None:
        self._images: dict[str, _Image] = {}
        self._scored: bool | None = None

    def add(
        self,
        name: str,
        group: str | None,
        pred_labels: LabelMap,
        true_labels: LabelMap,
        scores: ImageScores | None = None,
    ) -> None:
        """Measure one image.

        Args:
            name: of the image, unique.
            group: such as its modality; None for an image that counts only overall.
            pred_labels: (H, W) integers; labels above 0 are segments.
            true_labels: (H, W) integers; -1 ignore, 0 background, others are segments.
            scores: label -> score, or an array with the score of label at `label - 1`; for all
                images or for none.

        Raises:
            InputError: naming the image and the argument that does not fit.
        """
        self._check_new(name, scores is not None)
        try:
            (pair,) = pair_images([pred_labels], [true_labels], "pred_labels", "true_labels")
            by_label = label_scores(scores, pair.pred_labels, pair.max_pred_label)
        except InputError as error:
            raise InputError(f"image {name!r}: {error}") from None
        self._scored = scores is not None
        self._images[name] = _measure(
            group, segment_overlaps(pair), boundary_overlaps(pair), by_label
        )

    def add_sample(self, sample: Sample, found: Segments, group: str | None = None) -> None:
        """Measure one image with its scores, mask by mask where true or found segments may overlap.

        Args:
            sample: with its annotation; of another name than those before.
            found: its segments.
            group: such as its modality; None for an image that counts only overall.

        Raises:
            InputError: naming the image and what does not fit.
        """
        if sample.masks is None and isinstance(found, Segmentation):
            self.add(sample.name, group, found.labels, sample.labels, found.scores)
            return
        self._check_new(sample.name, scored=True)
        try:
            measured = compare_masks(sample, found)
        except InputError as error:
            raise InputError(f"image {sample.name!r}: {error}") from None
        self._scored = True
        self._images[sample.name] = _measure(group, *measured)

    def of(self, names: Sequence[str]) -> Metrics:
        """The metrics of some of the images together, by their names."""
        return _metrics([self._images[name] for name in names])

    def _check_new(self, name: str, scored: bool) -> None:
        if name in self._images:
            raise InputError(f"name: image {name!r} was added before")
        if self._scored not in (None, scored):
            raise InputError(f"scores: image {name!r} and those before differ in having any")

    def overall(self) -> Metrics:
        """The metrics of all images.

        Raises:
            InputError: no image was added.
        """
        if not self._images:
            raise InputError("report: no image was added")
        return _metrics(list(self._images.values()))

    def by_group(self) -> dict[str, Metrics]:
        """The metrics of each group, in the order in which groups first appeared."""
        groups: dict[str, list[_Image]] = {}
        for image in self._images.values():
            if image.group is not None:
                groups.setdefault(image.group, []).append(image)
        return {group: _metrics(images) for group, images in groups.items()}

    def as_dict(self) -> dict[str, Metrics | dict[str, Metrics]]:
        """All metrics, fit for JSON: {"overall": metrics, "groups": {group: metrics}}."""
        return {"overall": self.overall(), "groups": self.by_group()}

    def rows(self, kind: Kind = "coco") -> list[dict[str, object]]:
        """One table row a group and one for all images, with one of the two average precisions.

        Raises:
            InputError: no image was added, or `kind` is neither "coco" nor "matching".
        """
        check_kind(kind)
        other = "ap_matching" if kind == "coco" else "ap_coco"
        return [
            {"group": group} | {k: v for k, v in metrics.items() if not k.startswith(other)}
            for group, metrics in (*self.by_group().items(), ("all", self.overall()))
        ]


def _measure(
    group: str | None, overlaps: Overlaps, bands: Overlaps, scores: NDArray[np.float64]
) -> _Image:
    order = descending(scores)[:MAX_DETECTIONS]
    return _Image(
        group=group,
        best=best_matches(overlaps, bands),
        counts=tuple(optimal_counts(overlaps, iou) for iou in COCO_THRESHOLDS),
        scores=scores[order],
        hits=np.stack([ranked_hits(overlaps, order, iou) for iou in COCO_THRESHOLDS]),
    )


def _metrics(images: Sequence[_Image]) -> Metrics:
    best = pool_segments([image.best for image in images])
    counts = list(zip(*(image.counts for image in images), strict=True))
    scores = np.concatenate([image.scores for image in images])
    hits = np.concatenate([image.hits for image in images], axis=1)
    matching = [over_images(accuracy, at_iou, per_image=True) for at_iou in counts]
    coco = [interpolated_precision(scores, at_iou, best.segments) for at_iou in hits]
    return {
        "images": len(images),
        **best.as_dict(),
        "f1": over_images(f1, counts[_AT_50], per_image=True),
        "ap_matching_50": matching[_AT_50],
        "ap_matching_75": matching[_AT_75],
        "ap_matching": float(np.mean(matching)),
        "ap_coco_50": coco[_AT_50],
        "ap_coco_75": coco[_AT_75],
        "ap_coco": _mean(coco),
    }


def _mean(values: Sequence[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return float(np.mean(present)) if present else None
