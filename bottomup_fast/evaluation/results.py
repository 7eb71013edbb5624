"""What images measure together: every measure overall, by group, and where objects touch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from bottomup_fast.data.dataset import Sample
from bottomup_fast.evaluation.masks import Masks, Segments, flatten
from bottomup_fast.evaluation.report import DatasetReport, Metrics
from bottomup_fast.evaluation.separation import Separation

EXAMPLES = 6
"""How many of the best and of the worst images are kept."""

_OF_AN_IMAGE = ("f1", "recall", "miou", "boundary_iou", "segments")


@dataclass(frozen=True)
class ImageResult:
    """One image: what it measures, the time it took, and the figures of its features.

    Attributes:
        recall: this, `miou` and `boundary_iou` are None without a true segment.
        segments: number of true segments.
        found: number of segments found.
        seconds: None where nothing was timed.
    """

    name: str
    group: str | None
    touching: bool
    f1: float
    recall: float | None
    miou: float | None
    boundary_iou: float | None
    segments: int
    found: int
    seconds: float | None
    separation: Separation | None


@dataclass(frozen=True)
class Example:
    """An image with the segments (H, W) found in it."""

    sample: Sample
    found: NDArray[np.int32]
    f1: float


@dataclass(frozen=True)
class Measures:
    """What a set of images measures; `separation` is None without two entities in any image."""

    metrics: Metrics
    seconds_per_image: float | None
    separation: Metrics | None


class DatasetEvaluation:
    """Collects images one by one; keeps the label maps of the best and the worst few only.

    Attributes:
        images: a result for each image.
        worst: examples of lowest F1, ascending.
        best: examples of highest F1, descending.
    """

    def __init__(self) -> None:
        self.images: list[ImageResult] = []
        self.worst: list[Example] = []
        self.best: list[Example] = []
        self._report = DatasetReport()

    def add(
        self,
        sample: Sample,
        found: Segments,
        *,
        group: str | None = None,
        seconds: float | None = None,
        separation: Separation | None = None,
    ) -> None:
        """Measure one image.

        Args:
            sample: with its annotation.
            found: its segments.
            group: None for an image that counts only overall.
            seconds: what segmenting took.
            separation: of its features.

        Raises:
            InputError: as `DatasetReport.add_sample` does.
        """
        self._report.add_sample(sample, found, group)
        metrics = self._report.of([sample.name])
        image = ImageResult(
            name=sample.name,
            group=group,
            touching=objects_touch(sample.labels),
            found=len(found),
            seconds=seconds,
            separation=separation,
            **{key: metrics[key] for key in _OF_AN_IMAGE},  # type: ignore[arg-type]
        )
        self.images.append(image)
        labels = flatten(found) if isinstance(found, Masks) else found.labels
        example = Example(sample, labels, image.f1)
        self.worst = sorted([*self.worst, example], key=lambda one: one.f1)[:EXAMPLES]
        self.best = sorted([*self.best, example], key=lambda one: -one.f1)[:EXAMPLES]

    def measures(self) -> dict[str, Measures]:
        """By group, then "touching" if there are such images, then "all".

        "touching" are the images in which two annotated objects touch.

        Raises:
            InputError: no image was added.
        """
        metrics = self._report.by_group()
        members = {
            group: [image for image in self.images if image.group == group] for group in metrics
        }
        members["touching"] = [image for image in self.images if image.touching]
        if members["touching"]:
            metrics["touching"] = self._report.of([image.name for image in members["touching"]])
        members["all"] = self.images
        metrics["all"] = self._report.overall()
        return {
            group: Measures(
                metrics[group],
                _mean(image.seconds for image in members[group]),
                _mean_separation(members[group]),
            )
            for group in metrics
        }

    def as_dict(self) -> dict[str, object]:
        """All of it, fit for JSON: "overall", "groups" by name, "images", "worst" and "best"."""
        groups: dict[str, object] = {
            group: found.metrics
            | {"seconds_per_image": found.seconds_per_image, "separation": found.separation}
            for group, found in self.measures().items()
        }
        return {
            "overall": groups.pop("all"),
            "groups": groups,
            "images": [asdict(image) for image in self.images],
            "worst": [example.sample.name for example in self.worst],
            "best": [example.sample.name for example in self.best],
        }


def objects_touch(labels: NDArray[np.int32]) -> bool:
    """Whether two different labels above 0 of a map (H, W) are 4-neighbours somewhere."""
    neighbours = ((labels[:, 1:], labels[:, :-1]), (labels[1:], labels[:-1]))
    return any(((one != other) & (one > 0) & (other > 0)).any() for one, other in neighbours)


def _mean_separation(images: Sequence[ImageResult]) -> Metrics | None:
    """Mean over the images with at least two entities, so that each image counts alike."""
    inter, intra, pairs, entities = [], [], 0, 0
    for found in (image.separation for image in images):
        if found is not None and found.inter_mean is not None and found.intra_entity is not None:
            inter.append(found.inter_mean)
            intra.append(found.intra_entity)
            pairs += found.pairs
            entities += found.entities
    if not inter:
        return None
    mean = Separation(fmean(inter), fmean(intra), pairs, entities)
    return {"images": len(inter), **mean.as_dict()}


def _mean(values: Iterable[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return fmean(present) if present else None
