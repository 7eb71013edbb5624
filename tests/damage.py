"""Content that went wrong on its way."""

from __future__ import annotations

import numpy as np


def flip_bit(content: bytes, place: int, rng: np.random.Generator) -> bytes:
    """The content with one bit of a byte flipped."""
    damaged = bytearray(content)
    damaged[place] ^= 1 << int(rng.integers(8))
    return bytes(damaged)
