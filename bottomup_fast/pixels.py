"""Arrays that are images, as integer pixels; needs numpy alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bottomup_fast.errors import InputError


def integer_pixels(pixels: NDArray[Any], name: str) -> NDArray[Any]:
    """Return an image as (H, W, 1), (H, W, 3) or (H, W, 4) uint8 or uint16, of any byte order.

    Without an axis of channels it gets one; bool becomes 0 and 255, floats in [0, 1] become uint16.

    Raises:
        InputError: what is wrong with the image called `name`.
    """
    if pixels.size == 0:
        raise InputError(f"{name}: zero-size image, shape {pixels.shape}")
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4):
        raise InputError(
            f"{name}: expected shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), got {pixels.shape}"
        )
    if pixels.dtype.kind == "b":
        pixels = pixels.astype(np.uint8) * np.uint8(255)
    elif pixels.dtype.kind == "f":
        if not (pixels.min() >= 0 and pixels.max() <= 1):
            raise InputError(f"{name}: float values must be finite and in [0, 1]")
        pixels = np.rint(pixels.astype(np.float32) * 65535).astype(np.uint16)
    elif pixels.dtype.kind != "u" or pixels.dtype.itemsize > 2:
        raise InputError(f"{name}: expected uint8, uint16, bool or float, got {pixels.dtype}")
    return pixels
