"""Segments that may overlap, as COCO's run lengths, and the IoU of every pair of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import pycocotools.mask as run_lengths
from numpy.typing import NDArray
from scipy import ndimage

from bottomup_fast.data.dataset import RunLengths, Sample
from bottomup_fast.data.run_lengths import area, paint
from bottomup_fast.errors import InputError
from bottomup_fast.evaluation.boundary import band_width
from bottomup_fast.evaluation.overlaps import IGNORE, Overlaps
from bottomup_fast.segmentation import Segmentation


@dataclass(frozen=True)
class Masks:
    """Segments of an image that may overlap.

    Attributes:
        size: height and width of the image.
        masks: run lengths of each.
        scores: (n,) of each; all 1 if not given.

    Raises:
        InputError: a mask is of another size, or there is not one finite score a mask.
    """

    size: tuple[int, int]
    masks: tuple[RunLengths, ...]
    scores: NDArray[np.float64] = field(default_factory=lambda: np.ones(0))

    def __post_init__(self) -> None:
        if not self.scores.size:
            object.__setattr__(self, "scores", np.ones(len(self.masks)))
        if self.scores.shape != (len(self.masks),) or not np.isfinite(self.scores).all():
            raise InputError(
                f"scores: expected {len(self.masks)} finite numbers, one a mask, got shape "
                f"{self.scores.shape}"
            )
        for mask in self.masks:
            if tuple(mask["size"]) != self.size:
                raise InputError(f"masks: one is of size {mask['size']}, its image {self.size}")

    def __len__(self) -> int:
        return len(self.masks)


Segments: TypeAlias = Segmentation | Masks
"""What a method finds in an image: a label map or masks that may overlap, with scores."""


def size_of(segments: Segments) -> tuple[int, int]:
    """Height and width of the image."""
    if isinstance(segments, Masks):
        return segments.size
    height, width = segments.labels.shape
    return height, width


def encode(mask: NDArray[np.bool_]) -> RunLengths:
    """Run lengths of a mask (H, W)."""
    encoded: RunLengths = run_lengths.encode(np.asfortranarray(mask, dtype=np.uint8))
    return encoded


def label_masks(labels: NDArray[np.int32], count: int) -> tuple[RunLengths, ...]:
    """Run lengths of the labels 1..count of a map (H, W)."""
    columns = np.ascontiguousarray(labels.T)  # whose transpose is in the order of the code
    return tuple(encode((columns == label).T) for label in range(1, count + 1))


def flatten(masks: Masks) -> NDArray[np.int32]:
    """The masks as a label map (H, W) for pictures: mask i is label i + 1, smaller ones on top."""
    return paint(masks.masks, (), masks.size)


def mask_overlaps(found: Sequence[RunLengths], true: Sequence[RunLengths]) -> Overlaps:
    """IoU of the overlapping pairs, as pycocotools computes it."""
    iou = np.zeros((len(true), len(found)))
    if found and true:
        iou = np.asarray(run_lengths.iou(list(found), list(true), [0] * len(true))).T
    true_index, found_index = np.nonzero(iou)
    return Overlaps(true_index, found_index, iou[true_index, found_index], len(true), len(found))


def band(mask: RunLengths, width: int) -> RunLengths:
    """Boundary region of a mask: it minus itself eroded `width` times by a 3x3 square.

    The outside of the image counts as outside of the mask (Cheng et al., CVPR 2021).
    """
    pixels = run_lengths.decode(mask)
    x, y, w, h = run_lengths.toBbox(mask).astype(int)
    inside = pixels[y : y + h, x : x + w]  # a view
    inside -= ndimage.minimum_filter(inside, 2 * width + 1, mode="constant", cval=0)
    return encode(pixels)


def compare_masks(
    sample: Sample, found: Segments
) -> tuple[Overlaps, Overlaps, NDArray[np.float64]]:
    """IoU and Boundary IoU of the pairs of found and true segments of an image, mask by mask.

    Pixels of label -1 that no true mask covers take part in nothing: found masks lose them. Masks
    without pixels are left out.

    Returns:
        The overlaps of the masks, those of their boundary regions, and the scores of the found
        masks that are left.

    Raises:
        InputError: the sizes differ.
    """
    height, width = size = sample.labels.shape
    if size_of(found) != size:
        raise InputError(f"segments: of size {size_of(found)}, but the image is {size}")
    true = _true_masks(sample)
    masks = found.masks if isinstance(found, Masks) else label_masks(found.labels, len(found))
    ignored = sample.labels == IGNORE
    if ignored.any():
        covered = run_lengths.decode(run_lengths.merge(list(true))) if true else 0
        kept = encode(~(ignored & (covered == 0)))
        masks = tuple(run_lengths.merge([mask, kept], intersect=True) for mask in masks)
    left = [index for index, mask in enumerate(masks) if area(mask)]
    masks = tuple(masks[index] for index in left)
    border = band_width((height, width))
    bands = mask_overlaps([band(one, border) for one in masks], [band(one, border) for one in true])
    return mask_overlaps(masks, true), bands, found.scores[left]


def _true_masks(sample: Sample) -> tuple[RunLengths, ...]:
    if sample.masks is None:
        values = np.unique(sample.labels[sample.labels > 0])
        return tuple(encode(sample.labels == value) for value in values)
    return tuple(mask for mask in sample.masks if area(mask))
