"""From the pixels of a file to the network's input."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bottomup_fast.images import percentile_normalise
from bottomup_fast.settings import PreprocessingSettings


def to_unit_range(
    image: NDArray[np.uint8] | NDArray[np.uint16], settings: PreprocessingSettings
) -> NDArray[np.float32]:
    """(H, W, 3) integer pixels to float32 in [0, 1], as the model was trained."""
    if settings.normalisation == "percentile":
        return percentile_normalise(image, settings.low_percentile, settings.high_percentile)
    return image.astype(np.float32) / np.float32(np.iinfo(image.dtype).max)
