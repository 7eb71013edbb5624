"""A model on a data set: every measure overall, by group, and where annotated objects touch."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bottomup_fast.data.folder import Sample
from bottomup_fast.errors import InputError
from bottomup_fast.evaluation.f1 import f1_score
from bottomup_fast.evaluation.report import DatasetReport, Metrics
from bottomup_fast.evaluation.separation import Separation, separation
from bottomup_fast.inference import HALO, resize, resize_nearest
from bottomup_fast.models.network import MULTIPLE, BottomUpNetwork
from bottomup_fast.preprocessing import to_unit_range
from bottomup_fast.segmenter import Segmenter
from bottomup_fast.tiling import tiles

EXAMPLES = 6
"""How many of the best and of the worst images are kept."""


class ConstantFeatures(BottomUpNetwork):
    """A network that keeps its foreground but gives every pixel the same feature.

    What it segments are the connected pieces of the foreground: the baseline that features have to
    beat where objects touch.

    Raises:
        InputError: the network has no foreground channel, so that all pixels would be one segment.
    """

    def __init__(self, network: BottomUpNetwork) -> None:
        nn.Module.__init__(self)  # it has no encoder and decoder of its own
        if not network.foreground or network.settings is None:
            raise InputError("constant features: the model has no foreground channel")
        self.network = network
        self.feature_dim = network.feature_dim
        self.foreground = True
        pieces = network.settings.clustering.model_copy(update={"split_components": True})
        self.settings = network.settings.model_copy(update={"clustering": pieces})

    def forward_with_foreground(
        self, images: Tensor, origin: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Features of ones, and the foreground logits of the wrapped network."""
        features, logits = self.network.forward_with_foreground(images, origin)
        return torch.ones_like(features), logits


@dataclass(frozen=True)
class ImageResult:
    """One image: its F1 at IoU 0.5, the time it took, and the figures of its features."""

    name: str
    group: str | None
    touching: bool
    f1: float
    seconds: float
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
    seconds_per_image: float
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
        self._touching = DatasetReport()

    def add(
        self,
        sample: Sample,
        found: NDArray[np.int32],
        scores: NDArray[np.float64],
        *,
        group: str | None = None,
        seconds: float = 0.0,
        separation: Separation | None = None,
    ) -> None:
        """Measure one image.

        Args:
            sample: with its annotation.
            found: (H, W) segments 1..n, 0 for none.
            scores: (n,) of the segments.
            group: None for an image that counts only overall.
            seconds: what segmenting took.
            separation: of its features.

        Raises:
            InputError: as `DatasetReport.add` does.
        """
        self._report.add(sample.name, group, found, sample.labels, scores)
        touching = objects_touch(sample.labels)
        if touching:
            self._touching.add(sample.name, None, found, sample.labels, scores)
        f1 = f1_score(found, sample.labels)
        self.images.append(ImageResult(sample.name, group, touching, f1, seconds, separation))
        example = Example(sample, found, f1)
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
            metrics["touching"] = self._touching.overall()
        members["all"] = self.images
        metrics["all"] = self._report.overall()
        return {
            group: Measures(
                metrics[group],
                fmean(image.seconds for image in members[group]),
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


def evaluate_dataset(
    segmenter: Segmenter,
    samples: Iterable[Sample],
    group_by: str | None = None,
    *,
    separation: bool = True,
) -> DatasetEvaluation:
    """Segment and measure every sample.

    Args:
        segmenter: model and settings.
        samples: annotated images of different names.
        group_by: key of their metadata; images without it count only overall.
        separation: measure the features too, at the price of a second pass of the network.

    Raises:
        InputError: naming the image that cannot be read or does not fit its annotation.
    """
    evaluation = DatasetEvaluation()
    for sample in samples:
        start = time.perf_counter()
        found = segmenter.segment(sample.image)
        seconds = time.perf_counter() - start
        evaluation.add(
            sample,
            found.labels,
            found.scores,
            group=sample.metadata.get(group_by) if group_by else None,
            seconds=seconds,
            separation=entity_separation(segmenter, sample) if separation else None,
        )
    return evaluation


def objects_touch(labels: NDArray[np.int32]) -> bool:
    """Whether two different labels above 0 of a map (H, W) are 4-neighbours somewhere."""
    neighbours = ((labels[:, 1:], labels[:, :-1]), (labels[1:], labels[:-1]))
    return any(((one != other) & (one > 0) & (other > 0)).any() for one, other in neighbours)


@torch.inference_mode()
def entity_separation(segmenter: Segmenter, sample: Sample) -> Separation:
    """Table 5's figures for the annotated entities of an image.

    Features are those the segmenter works with: of the image at its scale, or at its smallest
    resolution, the one at which the network sees it whole; the annotation is resized to that.
    """
    settings = segmenter.settings.preprocessing
    height, width = sample.labels.shape
    zoom = settings.scale or settings.resolutions[0] / max(height, width)
    size = max(1, round(height * zoom)), max(1, round(width * zoom))
    unit = torch.from_numpy(to_unit_range(sample.image, settings)).to(segmenter.device)
    mean, std = (unit.new_tensor(v).view(3, 1, 1) for v in (settings.mean, settings.std))
    image = (resize(unit.permute(2, 0, 1), *size) - mean) / std
    labels = resize_nearest(torch.from_numpy(sample.labels).to(segmenter.device), *size)
    # Only pixels of entities are kept, as a row: of large images all would be too many.
    features_of_entities, entities = [], []
    for tile in tiles(*size, segmenter.tile_size, HALO, MULTIPLE):
        top, bottom, left, right = tile.window
        view = image[None, :, top:bottom, left:right]
        view = view.contiguous(memory_format=torch.channels_last)
        features = segmenter.network(view, view.new_tensor([[top, left]]))[0]
        window = labels[top:bottom, left:right]
        core = tile.core_in_window()
        inside = window[core] > 0
        features_of_entities.append(features[:, *core][:, inside].float())
        entities.append(window[core][inside])
    row = torch.cat(features_of_entities, dim=1).unsqueeze(1)
    return separation(row, torch.cat(entities).unsqueeze(0))


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
