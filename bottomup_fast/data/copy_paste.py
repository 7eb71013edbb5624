"""Objects of one image laid over another: copy-paste augmentation (Ghiasi et al., CVPR 2021).

Outlines of pasted objects are exact, and what surrounds them says nothing about what they are.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

CHOSEN = 0.5
"""Probability of each object to be pasted."""
OUTLINE = 1
"""Pixels taken off an object's outline: annotations reach a little into what surrounds it."""
SOFTNESS = 0.7
"""Standard deviation (pixels) of the transition between an object and the image below."""


def paste_objects(
    image: NDArray[np.float32],
    labels: NDArray[np.int32],
    donor: NDArray[np.float32],
    donor_labels: NDArray[np.int32],
    generator: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Lay a random choice of the donor's objects, at least one if there are any, over an image.

    Args:
        image: (H, W, 3), is left as it is.
        labels: (H, W) with -1 ignore, 0 unlabelled, 1..K.
        donor: of the same size.
        donor_labels: of the same size; all but its objects 1..K is left out.
        generator: source of all randomness.

    Returns:
        Image and labels; the pasted objects have the labels that follow the image's own.
    """
    objects = np.unique(donor_labels[donor_labels > 0])
    if not len(objects):
        return image, labels
    chosen = generator.random(len(objects)) < CHOSEN
    chosen[generator.integers(len(objects))] = True
    number = np.zeros(int(objects[-1]) + 1, np.int32)
    number[objects[chosen]] = np.arange(1, chosen.sum() + 1) + max(0, int(labels.max()))
    pasted = number[np.maximum(donor_labels, 0)]
    inside = ndimage.binary_erosion(pasted > 0, iterations=OUTLINE, border_value=1)
    weight = ndimage.gaussian_filter(inside.astype(np.float32), SOFTNESS)[..., None]
    return image + weight * (donor - image), np.where(inside, pasted, labels)
