"""Images whose partition is known to be hard, and how well two partitions agree."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from bottomup_fast.reference.lines import normalise

Lines = NDArray[np.float64]
Labels = NDArray[np.int64]
APART_DEG = 70
SIZE = 48


def adjusted_rand_index(one: Tensor | NDArray[Any], other: Tensor | NDArray[Any]) -> float:
    """Agreement of two labellings: 1 if equal but for names, 0 as by chance."""
    a, b = (torch.as_tensor(labels).flatten().long() for labels in (one, other))
    table = torch.bincount(a * (int(b.max()) + 1) + b)
    both, first, second, every = (
        float((n.double() * (n - 1) / 2).sum())
        for n in (table, torch.bincount(a), torch.bincount(b), torch.tensor([len(a)]))
    )
    chance = first * second / every
    highest = (first + second) / 2
    return 1.0 if highest == chance else (both - chance) / (highest - chance)


def lines_apart(rng: np.random.Generator, count: int, dim: int) -> Lines:
    """Lines that are not quite orthogonal, every two at least 70 degrees apart."""
    lines = normalise(torch.from_numpy(rng.normal(size=(count, dim))), dim=-1)
    limit = math.cos(math.radians(APART_DEG))
    for _ in range(2000):
        overlap = (lines @ lines.mT).fill_diagonal_(0)
        if overlap.abs().max() <= limit:
            return lines.numpy()
        excess = overlap.sign() * (overlap.abs() - 0.97 * limit).clamp_min(0)
        lines = normalise(lines - 0.5 * excess @ lines, dim=-1)
    raise AssertionError("too many lines for the dimensions")


def blobs(rng: np.random.Generator, count: int, size: int) -> Labels:
    centres = rng.uniform(0, size, (count, 2))
    pixels = np.stack(np.mgrid[:size, :size], -1)[:, :, None]
    return np.square(pixels - centres).sum(-1).argmin(-1)


def islands(rng: np.random.Generator, size: int, small: int, area: tuple[int, int]) -> Labels:
    """Three huge entities with many small rectangles in them."""
    labels = np.zeros((size, size), np.int64)
    labels[:, size // 3 :] = 1
    labels[size // 2 :, size // 2 :] = 2
    cell = 2 * max(area) + 2
    across = size // cell
    for number, place in enumerate(rng.permutation(across * across)[:small].tolist()):
        y, x = (cell * place + int(rng.integers(0, cell // 2)) for place in divmod(place, across))
        labels[y : y + area[0], x : x + area[1]] = 3 + number
    return labels


def directions(rng: np.random.Generator, shape: tuple[int, ...]) -> Lines:
    vectors = rng.normal(size=shape)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def scatter(
    rng: np.random.Generator, centres: Lines, noise_deg: float, outliers: float = 0.0
) -> Tensor:
    """Pixels (H, W, D) turned from `centres` by up to `noise_deg`, some replaced, any length."""
    sideways = directions(rng, centres.shape)
    sideways -= (sideways * centres).sum(-1, keepdims=True) * centres
    sideways /= np.linalg.norm(sideways, axis=-1, keepdims=True)
    angle = np.radians(rng.uniform(0, noise_deg, (*centres.shape[:2], 1)))
    pixels = np.cos(angle) * centres + np.sin(angle) * sideways
    replaced = rng.random((*centres.shape[:2], 1)) < outliers
    pixels = np.where(replaced, directions(rng, centres.shape), pixels)
    pixels *= rng.choice([-1, 1], replaced.shape) * np.exp(rng.uniform(-2, 2, replaced.shape))
    return torch.from_numpy(pixels).permute(2, 0, 1)


def blobs_or_noise(seed: int, noise_deg: tuple[float, float] = (5, 20), size: int = SIZE) -> Tensor:
    """(D, H, W) features of up to 20 entities, in blobs or pixel by pixel, some with outliers."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(2, 21))
    lines = lines_apart(rng, count, count + int(rng.integers(0, 5)))
    labels = blobs(rng, count, size) if seed % 2 else rng.integers(0, count, (size, size))
    noise = float(rng.uniform(*noise_deg))
    return scatter(rng, lines[labels], noise, outliers=0.05 * (seed // 2 % 2))


def mixed_borders(seed: int, size: int = SIZE) -> Tensor:
    """(D, H, W) features of 6 entities whose border pixels are mixtures of their neighbours."""
    rng = np.random.default_rng(seed)
    count = 6
    lines = lines_apart(rng, count, 8)
    sharp = torch.from_numpy(lines[blobs(rng, count, size)]).permute(2, 0, 1)
    mixed = functional.avg_pool2d(functional.pad(sharp, (2,) * 4, mode="replicate"), 5, 1)
    centres = normalise(mixed, dim=0).permute(1, 2, 0).numpy()
    return scatter(rng, centres, 10)
