"""Philox 4x32-10, the counter-based generator of Salmon et al. (SC 2011), in torch integers.

The same (key, counter) gives the same number on every backend, in any order of evaluation.
"""

from __future__ import annotations

import torch
from torch import Tensor

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_MASK = 0xFFFFFFFF
_ROUNDS = 10


def philox(key: tuple[Tensor, Tensor], counter: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
    """Four 32-bit words for each broadcast (key, counter), as (..., 4) int64 in [0, 2^32)."""
    key0, key1 = key
    c0, c1, c2, c3 = counter
    for _ in range(_ROUNDS):
        high0, low0 = _multiply(_MULTIPLIERS[0], c0)
        high1, low1 = _multiply(_MULTIPLIERS[1], c2)
        c0, c1, c2, c3 = high1 ^ c1 ^ key0, low1, high0 ^ c3 ^ key1, low0
        key0 = (key0 + _KEY_STEPS[0]) & _MASK
        key1 = (key1 + _KEY_STEPS[1]) & _MASK
    return torch.stack((c0, c1, c2, c3), dim=-1)


def _multiply(factor: int, word: Tensor) -> tuple[Tensor, Tensor]:
    """High and low words of a 32x32-bit product, by halves since int64 holds only 63 bits."""
    low_half, high_half = word & 0xFFFF, word >> 16
    low = factor * low_half
    middle = factor * high_half + (low >> 16)
    return middle >> 16, ((middle & 0xFFFF) << 16) | (low & 0xFFFF)


def uniform(words: Tensor) -> Tensor:
    """32-bit words to float64 in [0, 1)."""
    return words.double() * 2.0**-32
