"""Boundary IoU (Cheng et al., CVPR 2021): the IoU of the bands along the borders of two masks."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bottomup_fast.evaluation.overlaps import Overlaps, SegmentPair, index_overlaps

DILATION_RATIO = 0.02


def band_width(shape: tuple[int, ...]) -> int:
    """Width of the band in pixels: max(1, round(0.02 * diagonal of the image (H, W)))."""
    return max(1, round(DILATION_RATIO * math.hypot(*shape)))


def boundary_band(index: NDArray[np.int64], width: int) -> NDArray[np.bool_]:
    """Pixels within the boundary region of the segment they belong to.

    A mask eroded `width` times by a 3x3 square keeps the pixels whose square window of
    2 width + 1 pixels lies in the mask, the outside of the image counting as outside of it. In a
    label map: those whose window has one label only. So one pass serves all segments.

    Args:
        index: (H, W) segment of each pixel, 0 or above.
        width: of the band, pixels.
    """
    segments = index.astype(np.int32)
    size, outside = 2 * width + 1, -1
    highest = ndimage.maximum_filter(segments, size, mode="constant", cval=outside)
    lowest = ndimage.minimum_filter(segments, size, mode="constant", cval=outside)
    band: NDArray[np.bool_] = highest != lowest
    return band


def boundary_overlaps(pair: SegmentPair) -> Overlaps:
    """Boundary IoU of the pairs of an image's segments whose bands overlap."""
    width = band_width(pair.true_index.shape)
    pred_bands = np.where(boundary_band(pair.pred_index, width), pair.pred_index, 0)
    true_bands = np.where(boundary_band(pair.true_index, width), pair.true_index, 0)
    return index_overlaps(pred_bands, true_bands, len(pair.pred_labels), pair.num_true)
