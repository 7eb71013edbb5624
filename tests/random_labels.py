"""Label maps drawn at random."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int32]


def random_labels(rng: np.random.Generator, height: int, width: int, lowest: int = 0) -> Labels:
    """Blocks of labels with some noise."""
    block, count = rng.integers(1, 9), rng.integers(1, 9)
    coarse = rng.integers(lowest, count + 1, (height // block + 1, width // block + 1))
    labels = np.kron(coarse, np.ones((block, block), int))[:height, :width].astype(np.int32)
    noise = rng.random(labels.shape) < rng.choice([0, 0.05, 0.3])
    labels[noise] = rng.integers(lowest, count + 1, int(noise.sum()))
    return labels
