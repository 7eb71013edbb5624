"""From the mode of every pixel to segments."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from bottomup_fast.components import LabelMap, fold_specks, relabel_by_appearance, split_components
from bottomup_fast.inference import PixelMaps
from bottomup_fast.settings import ClusteringSettings


def pieces(maps: PixelMaps, clustering: ClusteringSettings) -> LabelMap:
    """Segments from modes: connected pieces if asked for, specks folded, numbered.

    Returns:
        (H, W) int32, 1..n by first appearance in raster order; 0 is background.
    """
    index = maps.index.cpu().numpy()
    labels: NDArray[np.int32] = index + 1
    if clustering.split_components:
        labels = split_components(labels)
    if clustering.min_area > 1:
        labels = fold_specks(
            labels, clustering.min_area, _line_similarity(labels, index, maps.modes)
        )
    return relabel_by_appearance(labels)


def _line_similarity(labels: LabelMap, index: NDArray[np.int32], modes: Tensor) -> Any:
    """|cos| between the modes of two segments; background is the last resort."""
    mode_of = np.zeros(int(labels.max()) + 1, np.int64)
    mode_of[labels] = index
    lines = modes.cpu().numpy()

    def similarity(one: int, other: int) -> float:
        if other == 0 or not len(lines):
            return -1.0
        return float(abs(lines[mode_of[one]] @ lines[mode_of[other]]))

    return similarity
