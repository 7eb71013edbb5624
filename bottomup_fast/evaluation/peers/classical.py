"""Classical baselines, which need no training and no other package."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage
from skimage.color import rgb2gray
from skimage.feature import peak_local_max
from skimage.filters import threshold_otsu
from skimage.segmentation import felzenszwalb, watershed

from bottomup_fast.components import relabel_by_appearance
from bottomup_fast.data.dataset import Sample
from bottomup_fast.errors import InputError
from bottomup_fast.evaluation.peers.method import Method
from bottomup_fast.images import percentile_normalise
from bottomup_fast.segmentation import Segmentation

SCALE = 300.0
"""Of Felzenszwalb and Huttenlocher's paper, for photographs; higher means larger segments."""
_SIGMA = 0.8
_SMALLEST = 50  # pixels
_SEED_DISTANCE = 7  # pixels between the middles of two objects
_SEED_SIGMA = 1.0  # smooths away the ridges that an uneven rim makes


class Felzenszwalb:
    """Graph-based segmentation (Felzenszwalb and Huttenlocher, 2004): a partition of all pixels."""

    timed = True

    def __init__(self, scale: float = SCALE) -> None:
        self.scale = scale

    def __call__(self, sample: Sample) -> Segmentation:
        """Segments of the sample's image, of at least 50 pixels."""
        found = felzenszwalb(
            percentile_normalise(sample.image), self.scale, _SIGMA, _SMALLEST, channel_axis=-1
        )
        return Segmentation(relabel_by_appearance(found.astype(np.int32) + 1))


class OtsuWatershed:
    """Otsu's threshold, then a watershed of the distance to it: objects on a background.

    Objects are the rarer side of the threshold, so that both bright and dark ones are found.
    """

    timed = True

    def __call__(self, sample: Sample) -> Segmentation:
        """Segments of the sample's image; none in a constant one."""
        grey = ndimage.gaussian_filter(rgb2gray(percentile_normalise(sample.image)), 1.0)
        if grey.min() == grey.max():
            return Segmentation(np.zeros(grey.shape, np.int32))
        bright = grey > threshold_otsu(grey)  # type: ignore[no-untyped-call]
        objects = bright if 2 * bright.sum() <= bright.size else ~bright
        depth = ndimage.gaussian_filter(ndimage.distance_transform_edt(objects), _SEED_SIGMA)
        pieces, _ = ndimage.label(objects)
        middles = peak_local_max(  # type: ignore[no-untyped-call]
            depth, min_distance=_SEED_DISTANCE, labels=pieces, exclude_border=False
        )
        seeds = np.zeros(grey.shape, np.int32)
        seeds[tuple(middles.T)] = np.arange(1, len(middles) + 1)
        found = watershed(-depth, seeds, mask=objects)  # type: ignore[no-untyped-call]
        return Segmentation(relabel_by_appearance(found.astype(np.int32)))


def open_felzenszwalb(scale: str, device: str) -> Method:
    """Graph-based segmentation at a scale."""
    try:
        value = float(scale) if scale else SCALE
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"--method: felzenszwalb takes a scale above 0, got {scale!r}")
    return Felzenszwalb(value)


def open_otsu_watershed(argument: str, device: str) -> Method:
    """Threshold and watershed."""
    return OtsuWatershed()
