from __future__ import annotations

import numpy as np
import pytest

from bottomup_fast import Segmenter


@pytest.mark.parametrize("size", [{"resolutions": (96, 160)}, {"scale": 1.5}])
def test_a_size_asked_for_replaces_the_search_for_one(size: dict[str, object]) -> None:
    segmenter = Segmenter("cells", **size)  # type: ignore[arg-type]
    preprocessing = segmenter.settings.preprocessing
    assert preprocessing.object_diameter is None
    assert preprocessing.scale == size.get("scale")
    assert preprocessing.resolutions == size.get("resolutions", ())
    image = np.random.default_rng(0).integers(0, 255, (60, 80), np.uint8)
    assert segmenter.segment(image).labels.shape == (60, 80)
