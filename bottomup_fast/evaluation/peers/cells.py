"""Cellpose and StarDist, where they are installed."""

from __future__ import annotations

from typing import Any

import numpy as np
from skimage.color import rgb2gray

from bottomup_fast.components import relabel_by_appearance
from bottomup_fast.data.dataset import Sample
from bottomup_fast.evaluation.peers.method import Method, required
from bottomup_fast.images import percentile_normalise
from bottomup_fast.segmentation import Segmentation


class Cellpose:
    """A model of Cellpose with its own default settings."""

    timed = True

    def __init__(self, model: Any) -> None:
        self.model = model

    def __call__(self, sample: Sample) -> Segmentation:
        """Segments of the sample's image."""
        masks = self.model.eval(sample.image)[0]
        return Segmentation(relabel_by_appearance(np.asarray(masks).astype(np.int32)))


class StarDist:
    """A two-dimensional model of StarDist with its own thresholds, on grey images."""

    timed = True

    def __init__(self, model: Any) -> None:
        self.model = model

    def __call__(self, sample: Sample) -> Segmentation:
        """Segments of the sample's image with StarDist's probabilities as scores."""
        labels, details = self.model.predict_instances(
            rgb2gray(percentile_normalise(sample.image, 1, 99.8))
        )
        # Overlapped objects may be gone from the map; the others keep their numbers.
        numbers = np.unique(labels[labels > 0])
        renumbered = np.searchsorted(numbers, labels) + 1
        scores = np.asarray(details["prob"], np.float64)[numbers - 1]
        return Segmentation(np.where(labels > 0, renumbered, 0).astype(np.int32), scores=scores)


def open_cellpose(model: str, device: str) -> Method:
    """A named or trained model of Cellpose; without a name its default one."""
    models = required("cellpose.models", "cellpose", "cellpose")
    from bottomup_fast.segmenter import choose_device

    chosen = choose_device(device)
    arguments = {"pretrained_model": model} if model else {}
    return Cellpose(models.CellposeModel(gpu=chosen.type == "cuda", device=chosen, **arguments))


def open_stardist(model: str, device: str) -> Method:
    """A published model of StarDist; without a name the one for fluorescent nuclei."""
    models = required("stardist.models", "stardist", "stardist tensorflow")
    return StarDist(models.StarDist2D.from_pretrained(model or "2D_versatile_fluo"))
