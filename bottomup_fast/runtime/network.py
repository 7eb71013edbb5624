"""A network in an ONNX file, run by onnxruntime."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bottomup_fast.errors import InputError
from bottomup_fast.export.onnx_format import has_clustering, open_session
from bottomup_fast.export.seal import read_sealed
from bottomup_fast.runtime.description import settings_and_sides

MULTIPLE = 32
"""Both sides of the network's input are multiples of this."""
FloatArray = NDArray[np.float32]


class OnnxNetwork:
    """A network that `bottomup export --to onnx` has written; several threads may run it at once.

    Args:
        path: the file.
        threads: of onnxruntime for one image; its own choice by default.

    Attributes:
        settings: the model's settings, JSON, without `mean` and `std`, which are inside the file.

    Raises:
        InputError: missing, truncated, damaged or foreign file, or of another layout.
        ImportError: without onnxruntime.
    """

    def __init__(self, path: str | os.PathLike[str], threads: int | None = None) -> None:
        onnxruntime = _onnxruntime()
        self.path = os.fspath(path)
        content = read_sealed(path)
        if has_clustering(content):
            raise InputError(
                f"{self.path}: holds its clustering, which is done here; export the model again "
                "without --with-clustering"
            )
        session, metadata = open_session(onnxruntime, path, content, threads)
        self.settings, self._sides = settings_and_sides(self.path, metadata, "onnx")
        self._takes_origin = len(session.get_inputs()) > 1
        self._session = session

    def __call__(self, image: FloatArray, y: int, x: int) -> tuple[FloatArray, FloatArray | None]:
        """Run the network on one image.

        Args:
            image: (3, H, W) in [0, 1]; any H, W of at least 1.
            y: row of its corner in the image that it is a part of.
            x: column, likewise.

        Returns:
            features (D, H, W), and foreground logits (H, W) if the network has them.

        Raises:
            InputError: an image larger than the file's resolutions.
        """
        height, width = image.shape[1:]
        rows, columns = self._size(height, width)
        padding = ((0, 0), (0, rows - height), (0, columns - width))
        feed: dict[str, NDArray[Any]] = {"image": np.pad(image, padding, mode="edge")[None]}
        if self._takes_origin:
            feed["origin"] = np.array([[y, x]], np.float32)
        features, *logits = (
            output[0, ..., :height, :width] for output in self._session.run(None, feed)
        )
        return features, logits[0] if logits else None

    def _size(self, height: int, width: int) -> tuple[int, int]:
        """What the file takes that holds an image of this size."""
        if self._sides and max(height, width) > self._sides[-1]:
            raise InputError(
                f"image: {height}x{width} pixels after scaling, {self.path} takes "
                f"{self._sides[-1]} at most; give resolutions or tile_size that fit, or export anew"
            )
        if len(self._sides) == 1:
            return self._sides[0], self._sides[0]
        return height + -height % MULTIPLE, width + -width % MULTIPLE


def _onnxruntime() -> Any:
    try:
        return import_module("onnxruntime")
    except ImportError as error:
        raise ImportError("onnxruntime is missing: pip install onnxruntime") from error
