"""Multi-resolution refinement of a label map (paper, Section 4.1) in plain numpy.

The paper keeps its details in a supplement, so these rules are this project's. A finer segment,
compared with the existing ones clipped to its patch, replaces the one it coincides with; else it
subdivides the one that contains it, unless an inner patch border cuts it; else it is dropped.
Pixels that a replacement releases go to the adjacent segment nearest in space. In detail:

- A subdividing segment takes only its pixels inside its container: one segment pays for it, the
  whole write is granted or held back, and no neighbour loses pixels to an object it does not hold.
- A label is replaced by one finer segment of a patch at most: two of them cannot both be it.
- Released pixels move once the patch has been read. Until then they keep their label, so that an
  object which a finer boundary leaves out can still be found inside its container.
- A connected group of released pixels that touches no other segment has no adjacent segment to go
  to and stays; so do pixels of a segment cut by an inner patch border, whose extent is unknown.
- Background (0) holds and receives pixels like a segment, but is no entity: no finer segment
  replaces it, and it may be used up.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bottomup_fast.components import constant_runs

LabelArray = NDArray[np.int64]
Box = tuple[int, int, int, int]
Slices = tuple[slice, slice]
_FOUR_NEIGHBOURS = ndimage.generate_binary_structure(2, 1)


class _Partition:
    """A label map (H, W) and the area in pixels of every label in the whole of it."""

    def __init__(self, labels: LabelArray) -> None:
        self.labels = labels.copy()
        self.areas = np.bincount(self.labels.ravel())

    def add_label(self) -> int:
        self.areas = np.append(self.areas, 0)
        return len(self.areas) - 1

    def assign(
        self, window: LabelArray, pixels: NDArray[np.bool_], label: int | LabelArray
    ) -> None:
        """Give `pixels` of `window`, a view of the map, to `label`, one for all or one for each.

        Held back where the owner would be left with fewer than max(1, half) of its pixels.
        """
        lost = np.bincount(window[pixels], minlength=len(self.areas))
        grants = self.areas - lost >= np.maximum(1, self.areas / 2)
        grants[0] = True
        pixels = pixels & grants[window]
        self.areas -= np.where(grants, lost, 0)
        window[pixels] = label if isinstance(label, int) else label[pixels]
        self.areas += np.bincount(window[pixels], minlength=len(self.areas))


def merge_patches(
    labels: LabelArray,
    patches: Iterable[tuple[LabelArray, Box]],
    *,
    min_area: int,
    refine_iou: float,
    contain: float,
) -> LabelArray:
    """Merge finer patches, one after another, into a coarse label map.

    No write takes more than half of a segment, so none ever vanishes; the background may.

    Args:
        labels: (H, W), 0 background, otherwise segments.
        patches: pairs (labels (y1 - y0, x1 - x0), box (x0, y0, x1, y1)) in the map's pixels.
        min_area: pixels; smaller finer segments are ignored.
        refine_iou: from this IoU on, a finer segment is an existing one with a better boundary.
        contain: from this share on inside an existing segment, a finer one subdivides it.

    Returns:
        (H, W): segments keep their labels, new ones get labels above `labels.max()`.
    """
    partition = _Partition(labels)
    for patch, box in patches:
        finer = _number_by_value(patch)
        x0, y0, x1, y1 = box
        window = partition.labels[y0:y1, x0:x1]
        cut = _touches_inner_border(finer, box, labels.shape)
        replaced = _write_segments(partition, window, finer, cut, min_area, refine_iou, contain)
        _release(partition, window, finer, cut, replaced)
    return partition.labels


def _number_by_value(labels: LabelArray) -> LabelArray:
    """Number segments 1..n without gaps, their order kept; 0 stays 0."""
    flat = labels.ravel()
    starts, lengths = constant_runs(flat)
    inverse = np.unique(np.append(0, flat[starts]), return_inverse=True)[1]
    return np.repeat(inverse[1:], lengths).reshape(labels.shape)


def _touches_inner_border(
    finer: LabelArray, box: Box, image_shape: tuple[int, ...]
) -> NDArray[np.bool_]:
    """(number of labels,): whether the patch cuts a segment off, its border not the image's."""
    x0, y0, x1, y1 = box
    height, width = image_shape
    touches = np.zeros(finer.max() + 1, dtype=np.bool_)
    borders = [
        (finer[:, 0], x0 > 0),
        (finer[0], y0 > 0),
        (finer[:, -1], x1 < width),
        (finer[-1], y1 < height),
    ]
    for border, inner in borders:
        if inner:
            touches[border] = True
    touches[0] = False
    return touches


def _write_segments(
    partition: _Partition,
    window: LabelArray,
    finer: LabelArray,
    cut: NDArray[np.bool_],
    min_area: int,
    refine_iou: float,
    contain: float,
) -> dict[int, int]:
    """Write the patch's segments, largest first; return which of them replaced which label."""
    areas = np.bincount(finer.ravel())
    boxes = ndimage.find_objects(finer)
    outside = partition.areas - np.bincount(window.ravel(), minlength=len(partition.areas))
    replaced: dict[int, int] = {}
    for segment in (1 + np.argsort(-areas[1:], kind="stable")).tolist():
        area = areas[segment]
        if area < min_area:
            break
        view = window[boxes[segment - 1]]
        pixels = finer[boxes[segment - 1]] == segment
        overlap = np.bincount(view[pixels], minlength=len(partition.areas))
        clipped = partition.areas - outside
        iou = overlap / (area + clipped - overlap)
        iou[[0, *replaced]] = 0
        same, container = int(iou.argmax()), int(overlap.argmax())
        if iou[same] >= refine_iou:
            partition.assign(view, pixels, same)
            replaced[same] = segment
        elif overlap[container] / area >= contain and not cut[segment]:
            partition.assign(view, pixels & (view == container), partition.add_label())
            outside = np.append(outside, 0)
    return replaced


def _release(
    partition: _Partition,
    window: LabelArray,
    finer: LabelArray,
    cut: NDArray[np.bool_],
    replaced: dict[int, int],
) -> None:
    """Give what replaced labels still hold outside of their finer segments to adjacent segments."""
    replacement = np.zeros(len(partition.areas), dtype=np.int64)
    replacement[list(replaced)] = list(replaced.values())
    replacement = replacement[window]
    released = (replacement > 0) & (replacement != finer) & ~cut[finer]
    released_from = np.where(released, window, 0)
    losing = set(np.flatnonzero(np.bincount(released_from.ravel())).tolist())
    boxes = ndimage.find_objects(window)
    for label in replaced:
        if label not in losing:
            continue
        # The closest pixel of another label borders on this one: one pixel around it is enough.
        box = _padded(boxes[label - 1])
        view, pixels = window[box], released_from[box] == label
        others = view != label
        groups, count = ndimage.label(pixels, _FOUR_NEIGHBOURS)
        touching = np.zeros(count + 1, dtype=np.bool_)
        touching[groups[pixels & _beside(others)]] = True
        if touching.any():
            adjacent = touching[groups]
            nearest = ndimage.distance_transform_edt(
                ~others, return_distances=False, return_indices=True
            )
            receivers = view[tuple(nearest)]
            partition.assign(view, adjacent, receivers)
            for other in np.unique(receivers[adjacent]):
                if other > 0:
                    boxes[other - 1] = _around_both(boxes[other - 1], box)


def _beside(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels with one of the mask as a 4-neighbour."""
    beside = np.zeros_like(mask)
    beside[1:] |= mask[:-1]
    beside[:-1] |= mask[1:]
    beside[:, 1:] |= mask[:, :-1]
    beside[:, :-1] |= mask[:, 1:]
    return beside


def _padded(box: Slices) -> Slices:
    """The box and one pixel about it, inside the array."""
    rows, columns = box
    return (
        slice(max(rows.start - 1, 0), rows.stop + 1),
        slice(max(columns.start - 1, 0), columns.stop + 1),
    )


def _around_both(one: Slices, other: Slices) -> Slices:
    """The smallest box around two."""
    rows, columns = (
        slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(one, other, strict=True)
    )
    return rows, columns
