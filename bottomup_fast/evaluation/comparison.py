"""Several methods on the same images, measured in the same way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from bottomup_fast.data.dataset import Sample
from bottomup_fast.errors import InputError
from bottomup_fast.evaluation.masks import Masks, Segments, flatten, size_of
from bottomup_fast.evaluation.peers import Method
from bottomup_fast.evaluation.protocols import Row, fill_relative, quality_row
from bottomup_fast.evaluation.results import DatasetEvaluation
from bottomup_fast.evaluation.selection import Selection
from bottomup_fast.overlay import Picture, draw_overlay


@dataclass
class MethodResult:
    """What a method did.

    Attributes:
        evaluation: of all images.
        failures: image -> the reason why the method has no segments for it; it is measured as one
            in which nothing was found.
    """

    evaluation: DatasetEvaluation = field(default_factory=DatasetEvaluation)
    failures: dict[str, str] = field(default_factory=dict)


@dataclass
class Comparison:
    """Methods on the same images.

    Attributes:
        methods: by name.
        unreadable: one line for each image of the data set that is broken; no method sees them.
        pictures: a row an image: the image, its annotation, what each method found.
    """

    methods: dict[str, MethodResult]
    unreadable: list[str] = field(default_factory=list)
    pictures: list[list[Picture]] = field(default_factory=list)

    @property
    def evaluations(self) -> dict[str, DatasetEvaluation]:
        """The evaluation of each method."""
        return {name: result.evaluation for name, result in self.methods.items()}

    @property
    def failed(self) -> bool:
        """Whether anything failed."""
        return bool(self.unreadable) or any(one.failures for one in self.methods.values())

    def quality_rows(self) -> list[Row]:
        """The measures of the paper, the failures and the time of each method."""
        rows: list[Row] = []
        for name, result in self.methods.items():
            overall = result.evaluation.measures()["all"]
            rows.append(
                {"method": name}
                | quality_row(overall)
                | {
                    "images": len(result.evaluation.images),
                    "failed": len(result.failures),
                    "s per image": overall.seconds_per_image,
                }
            )
        fill_relative(rows)
        return rows

    def metric_rows(self, columns: Mapping[str, str]) -> list[Row]:
        """Metrics of `DatasetReport` of each method; `columns` are heading -> metric."""
        return [
            {"method": name}
            | {
                heading: evaluation.measures()["all"].metrics[metric]
                for heading, metric in columns.items()
            }
            for name, evaluation in self.evaluations.items()
        ]

    def as_dict(self) -> dict[str, object]:
        """All of it, fit for JSON, with the values of every image."""
        return {
            "unreadable": self.unreadable,
            "methods": {
                name: {**result.evaluation.as_dict(), "failures": result.failures}
                for name, result in self.methods.items()
            },
        }


def compare_methods(
    methods: Mapping[str, Method],
    images: Selection,
    group_by: str | None = None,
    pictures: int = 0,
    track: Callable[[range], Iterable[int]] = iter,
) -> Comparison:
    """Run every method on every image and measure what it finds.

    Args:
        methods: by name.
        images: to read and measure.
        group_by: key of their metadata; images without it count only overall.
        pictures: how many images to draw, evenly spaced.
        track: goes through the positions of the images, for a progress bar.

    Raises:
        InputError: every image is broken. What fails on a single image is recorded instead.
    """
    comparison = Comparison({name: MethodResult() for name in methods})
    drawn = {position * len(images) // pictures for position in range(pictures)}
    for index in track(range(len(images))):
        try:
            sample = images.read(index)
        except InputError as error:
            comparison.unreadable.append(str(error))
            continue
        found = {}
        for name, method in methods.items():
            found[name] = _measure(method, sample, comparison.methods[name], group_by)
        if index in drawn:
            comparison.pictures.append(_draw(sample, list(found.values())))
    if not any(result.evaluation.images for result in comparison.methods.values()):
        reason = f" ({comparison.unreadable[0]})" if comparison.unreadable else ""
        raise InputError(f"no image can be read{reason}")
    return comparison


def _measure(
    method: Method, sample: Sample, result: MethodResult, group_by: str | None
) -> Segments:
    height, width = sample.labels.shape
    seconds = None
    start = time.perf_counter()
    try:
        found = method(sample)
        seconds = time.perf_counter() - start if method.timed else None
        if size_of(found) != (height, width):
            raise InputError(f"segments of size {size_of(found)}, but the image is {height, width}")
    except Exception as error:  # other packages raise anything, and the other images still count
        reason = " ".join(str(error).split())
        kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
        result.failures[sample.name] = kind + reason
        found, seconds = Masks((height, width), ()), None
    group = sample.metadata.get(group_by) if group_by else None
    result.evaluation.add(sample, found, group=group, seconds=seconds)
    return found


def _draw(sample: Sample, found: Sequence[Segments]) -> list[Picture]:
    truth = np.maximum(sample.labels, 0)
    maps = [flatten(one) if isinstance(one, Masks) else one.labels for one in found]
    return [draw_overlay(sample.image, labels) for labels in (np.zeros_like(truth), truth, *maps)]
