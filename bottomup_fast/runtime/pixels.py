"""Arrays that are images, as integer pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bottomup_fast.errors import InputError


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
    if image.size == 0:
        raise InputError(f"source: zero-size image, shape {image.shape}")
    pixels = image[..., None] if image.ndim == 2 else image
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4):
        raise InputError(
            f"source: expected shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), got {image.shape}"
        )
    if pixels.dtype.kind == "b":
        pixels = pixels.astype(np.uint8) * np.uint8(255)
    elif pixels.dtype.kind == "f":
        if not (pixels.min() >= 0 and pixels.max() <= 1):
            raise InputError("source: float values must be finite and in [0, 1]")
        pixels = np.rint(pixels.astype(np.float32) * 65535).astype(np.uint16)
    elif pixels.dtype.kind != "u" or pixels.dtype.itemsize > 2:
        raise InputError(f"source: expected uint8, uint16, bool or float, got {pixels.dtype}")
    return np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("="))
