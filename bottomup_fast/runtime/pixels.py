"""Arrays that are images, as integer pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bottomup_fast.pixels import integer_pixels


def as_pixels(image: Any) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Return an image as (H, W, 1), (H, W, 3) or (H, W, 4) uint8 or uint16, row after row.

    Takes what `bottomup_fast.read_image` takes as an array: bool becomes 0 and 255, floats in
    [0, 1] become uint16. Anything else, such as a path, is read by that function, which needs the
    libraries it names.

    Raises:
        InputError: what is wrong with the image.
    """
    if not isinstance(image, np.ndarray):
        from bottomup_fast.images import read_image

        return read_image(image)
    pixels = integer_pixels(image, "source")
    return np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("="))
