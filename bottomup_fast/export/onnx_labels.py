"""An ONNX file with the operator `Cluster`: its network in onnxruntime, the operator in C++."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bottomup_fast.errors import InputError
from bottomup_fast.export.onnx_cluster import (
    FloatArray,
    cluster_outputs,
    take_clustering,
)
from bottomup_fast.export.onnx_format import has_clustering, open_session, require
from bottomup_fast.export.seal import read_sealed

if TYPE_CHECKING:
    from bottomup_fast.export.exported_network import ExportedNetwork

Labels = NDArray[np.int32]


def load_onnx_labels(
    path: str | os.PathLike[str], *, threads: int | None = None
) -> Callable[..., Labels]:
    """Open a file that `bottomup export --to onnx --with-clustering` has written; needs no torch.

    Args:
        path: of the file.
        threads: of onnxruntime; its own choice by default.

    Returns:
        a function of `image` (B, 3, H, W) float32 in [0, 1] and, for models with a position code,
        `origin` (B, 2), zeros by default, to labels (B, H, W).

    Raises:
        InputError: missing, truncated, damaged or foreign file, or one without clustering.
        ImportError: without the packages of the `export` extra.
    """
    runtime = require("onnxruntime")
    content = read_sealed(path)
    if not has_clustering(content):
        raise InputError(f"{os.fspath(path)}: has no clustering; export it --with-clustering")
    content, settings = take_clustering(content)
    session, _ = open_session(runtime, path, content, threads)
    placed = len(session.get_inputs()) > 1

    def run(image: FloatArray, origin: FloatArray | None = None) -> Labels:
        feed: dict[str, Any] = {"image": image}
        if placed:
            feed["origin"] = np.zeros((len(image), 2), np.float32) if origin is None else origin
        return cluster_outputs(*session.run(None, feed), **settings)

    return run


def differing_labels(path: str | os.PathLike[str], network: ExportedNetwork) -> int:
    """Compare a file's labels with those that `Segmenter` gives for its features.

    Args:
        path: of the file.
        network: the same file by `load_onnx`.

    Returns:
        the pixels of a picture of discs whose labels differ.
    """
    from bottomup_fast.export.check import picture
    from bottomup_fast.segmenter import Segmenter

    fixed = network.description.resolutions
    image = picture(fixed[0], fixed[0]) if fixed else picture(160, 96)
    pixels = (image * 255).byte().permute(1, 2, 0).numpy()
    segmenter = Segmenter(network, "cpu", scale=1.0)
    expected = segmenter.segment_prepared(pixels, image)[0].labels
    found = load_onnx_labels(path)(image[None].numpy())[0]
    return int((found != expected).sum())
