"""Image in, segments out, without torch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bottomup_fast.errors import InputError
from bottomup_fast.runtime.aoti import AotiNetwork
from bottomup_fast.runtime.module import native
from bottomup_fast.runtime.network import FloatArray, OnnxNetwork
from bottomup_fast.runtime.pixels import as_pixels

if TYPE_CHECKING:
    from bottomup_fast.segmentation import Segmentation

Network = Callable[[FloatArray, int, int], tuple[FloatArray, FloatArray | None]]


@dataclass(frozen=True)
class Segments:
    """A partition of an image into segments 1..n, and numbers on each, at position label - 1.

    Attributes:
        labels: (H, W) int32; 0 is background.
        scores: (n,) float64.
        predicted_iou: (n,), the mean |cos| between the pixels of a segment and its line.
        stability_score: (n,), the share of the pixels that stay under a tighter window.
        seconds: that preparing the image, the network, clustering and merging took.
    """

    labels: NDArray[np.int32]
    scores: NDArray[np.float64]
    predicted_iou: NDArray[np.float64]
    stability_score: NDArray[np.float64]
    seconds: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)

    def __len__(self) -> int:
        return len(self.scores)

    def to_segmentation(self, image: Any = None) -> Segmentation:
        """The same as a `bottomup_fast.Segmentation`, which needs more libraries."""
        from bottomup_fast.segmentation import Segmentation

        return Segmentation(
            self.labels,
            scores=self.scores,
            predicted_iou=self.predicted_iou,
            stability_score=self.stability_score,
            image=image,
        )


class Segmenter:
    """A model ready to segment images, by several threads at once.

    Labels are those of `bottomup_fast.Segmenter` for the same features.

    Args:
        model: an ONNX file or AOTInductor package (.pt2) that `bottomup export` has written; or a
            function (image, y, x) that runs a network as `OnnxNetwork` does.
        settings: of the model, JSON; a file's own by default.
        resolutions: longer sides (pixels, ascending) for multi-resolution inference.
        scale: zoom of the image before the network instead.
        keep_background: label background too, for models that tell it apart.
        leave_outliers: label 0 for pixels whose line lies outside the window of every mode.
        tile_size: images larger than this (pixels, after scaling) go through in tiles.
        threads: of the network for one image, of all segmenters of packages together; the
            runtime's own choice by default.

    Raises:
        InputError: a missing, corrupt or foreign file, or impossible settings.
        ImportError: without onnxruntime, or torch for a package.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | Network,
        settings: str | None = None,
        resolutions: Iterable[int] | None = None,
        *,
        scale: float | None = None,
        keep_background: bool = False,
        leave_outliers: bool = False,
        tile_size: int = 1024,
        threads: int | None = None,
    ) -> None:
        source = "settings"
        network: Network
        if isinstance(model, str | os.PathLike):
            network = opened = open_network(model, threads)
            if settings is None:
                settings, source = opened.settings, os.fspath(model)
        else:
            network = model
        if settings is None:
            raise InputError("settings: a function says nothing of its own; give the model's")
        sides = [] if resolutions is None else list(resolutions)
        if resolutions is not None and not sides:
            raise InputError("resolutions: must not be empty")
        self._native = native.Segmenter(
            settings, source, network, sides, scale, keep_background, leave_outliers, tile_size
        )

    def segment(self, image: Any) -> Segments:
        """Segment one image: an array (H, W[, 3]), or what `bottomup_fast.Segmenter` takes.

        Raises:
            InputError: what is wrong with the image.
        """
        return Segments(*self._native.segment(as_pixels(image)))

    def segment_batch(self, images: Iterable[Any]) -> list[Segments]:
        """Segment several images, each as `segment` does."""
        return [self.segment(image) for image in images]


def open_network(
    path: str | os.PathLike[str], threads: int | None = None
) -> OnnxNetwork | AotiNetwork:
    """Open what `bottomup export` has written; a package's name ends in .pt2."""
    if os.fspath(path).endswith(".pt2"):
        return AotiNetwork(path, threads)
    return OnnxNetwork(path, threads)
