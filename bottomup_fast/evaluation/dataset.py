"""A model on a data set: its segments measured, and its features."""

from __future__ import annotations

import time
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from bottomup_fast.data.dataset import Sample
from bottomup_fast.errors import InputError
from bottomup_fast.evaluation.results import DatasetEvaluation
from bottomup_fast.evaluation.separation import Separation, separation
from bottomup_fast.inference import HALO, resize, resize_nearest
from bottomup_fast.models.network import MULTIPLE, BottomUpNetwork
from bottomup_fast.preprocessing import to_unit_range
from bottomup_fast.segmenter import Segmenter
from bottomup_fast.tiling import tiles


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
            found,
            group=sample.metadata.get(group_by) if group_by else None,
            seconds=seconds,
            separation=entity_separation(segmenter, sample) if separation else None,
        )
    return evaluation


@torch.inference_mode()
def entity_separation(segmenter: Segmenter, sample: Sample) -> Separation:
    """Table 5's figures for the annotated entities of an image.

    Features are those the segmenter works with: of the image at its scale, or at the resolution
    from which its segments come, the largest of those that join parts and else the smallest, at
    which the network sees it whole; the annotation is resized to that.
    """
    settings = segmenter.settings.preprocessing
    height, width = sample.labels.shape
    if settings.scale is None:
        side = settings.resolutions[0 if settings.joining_diameter is None else -1]
        zoom = side / max(height, width)
    else:
        zoom = settings.scale
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
