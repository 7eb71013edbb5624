"""Models of this package."""

from __future__ import annotations

from bottomup_fast.data.dataset import Sample
from bottomup_fast.evaluation.peers.method import Method
from bottomup_fast.models.weights import DEFAULT_MODEL
from bottomup_fast.segmentation import Segmentation
from bottomup_fast.segmenter import Segmenter


class BottomUp:
    """A model of this package; see `Segmenter`."""

    timed = True

    def __init__(self, segmenter: Segmenter) -> None:
        self.segmenter = segmenter

    def __call__(self, sample: Sample) -> Segmentation:
        """Segments of the sample's image."""
        return self.segmenter.segment(sample.image)


def open_bottomup(model: str, device: str) -> Method:
    """A bundled model or a model file; without a name the default one."""
    return BottomUp(Segmenter(model or DEFAULT_MODEL, device))
