from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

Maps = tuple[NDArray[np.int32], NDArray[np.int32]]


def voronoi(seeds: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.int32]:
    rows, columns = np.indices(shape)
    to_seed = np.hypot(rows[..., None] - seeds[:, 0], columns[..., None] - seeds[:, 1])
    return to_seed.argmin(-1).astype(np.int32) + 1


def noisy_pair(rng: np.random.Generator, shape: tuple[int, int], num_seeds: int) -> Maps:
    """A prediction and a truth that agree in part: moved, merged, split and missing segments."""
    seeds = rng.uniform(0, 1, (num_seeds, 2)) * shape
    true = voronoi(seeds, shape)
    kept = seeds[rng.random(num_seeds) < 0.8] + rng.normal(0, 1.5, (1, 2))
    extra = rng.uniform(0, 1, (num_seeds // 4 + 1, 2)) * shape
    pred = voronoi(np.concatenate([kept, extra]), shape)
    true[np.isin(true, rng.integers(1, num_seeds + 1, num_seeds // 4))] = 0
    pred[np.isin(pred, rng.integers(1, pred.max() + 1, num_seeds // 5))] = 0
    return pred, true


@pytest.fixture
def make_pair() -> Callable[[np.random.Generator, tuple[int, int], int], Maps]:
    return noisy_pair
