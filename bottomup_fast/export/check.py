"""Whether an exported network does what the model does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from bottomup_fast.components import relabel_by_appearance
from bottomup_fast.errors import InputError
from bottomup_fast.export.description import Precision
from bottomup_fast.export.exported_network import ExportedNetwork
from bottomup_fast.inference import pixel_maps
from bottomup_fast.models.network import BottomUpNetwork

TOLERANCE: dict[Precision, float] = {"float32": 1e-4, "float16": 2e-2, "bfloat16": 1e-1}
"""Largest difference of a feature; those of float32 are asked for, the others are seen."""
_SIZES = ((96, 128), (150, 70))


@dataclass(frozen=True)
class Comparison:
    """An exported network beside its model on the same pictures.

    Attributes:
        max_difference: largest of any feature.
        pixels: compared.
        differing_pixels: see the function of that name.
        segments: of the model on these pictures.
    """

    max_difference: float
    pixels: int
    differing_pixels: int
    segments: int


def compare(network: BottomUpNetwork, exported: ExportedNetwork) -> Comparison:
    """Features and partitions of both, on pictures of discs in sizes that the file takes.

    Raises:
        InputError: features differ by more than `TOLERANCE`, or float32 partitions at all.
    """
    fixed = exported.description.resolutions
    sizes = [(side, side) for side in fixed] or _SIZES
    largest, pixels, differing, segments = 0.0, 0, 0, 0
    for height, width in sizes:
        image = picture(height, width)
        expected, labels = _inference(network, image)
        found, other = _inference(exported, image)
        largest = max(largest, float((expected - found).abs().max()))
        pixels += labels.size
        differing += differing_pixels(labels, other)
        segments += int(labels.max())
    result = Comparison(largest, pixels, differing, segments)
    tolerance = TOLERANCE[exported.description.precision]
    same = differing == 0 or exported.description.precision != "float32"
    if not largest <= tolerance or not same:
        raise InputError(
            f"exported {exported.description.format}: features differ from the model's by "
            f"{largest:.1e} (at most {tolerance:g}), {differing} of {pixels} pixels change segment"
        )
    return result


def differing_pixels(labels: NDArray[np.int32], other: NDArray[np.int32]) -> int:
    """Pixels outside the largest agreement of two maps of labels, whatever their numbers are."""
    shape = int(labels.max()) + 1, int(other.max()) + 1
    pairs = np.ravel_multi_index((labels.ravel(), other.ravel()), shape)
    overlap = np.bincount(pairs, minlength=shape[0] * shape[1]).reshape(shape)
    matched = linear_sum_assignment(overlap, maximize=True)
    return int(labels.size - overlap[matched].sum())


def picture(height: int, width: int) -> Tensor:
    """(3, height, width) in [0, 1]: bright discs, some touching, on a dark, uneven ground."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:height, :width]
    image = 0.05 + 0.05 * rows / height + rng.normal(0, 0.01, (height, width))
    for _ in range(max(2, height * width // 1500)):
        y, x, radius = rng.uniform(0, height), rng.uniform(0, width), rng.uniform(6, 14)
        image[(rows - y) ** 2 + (columns - x) ** 2 < radius**2] = rng.uniform(0.4, 0.9)
    unit = np.clip(image, 0, 1).astype(np.float32)
    return torch.from_numpy(np.broadcast_to(unit, (3, height, width)).copy())


@torch.inference_mode()
def _inference(network: BottomUpNetwork, image: Tensor) -> tuple[Tensor, NDArray[np.int32]]:
    settings = network.settings
    assert settings is not None
    mean, std = (
        torch.tensor(values).view(3, 1, 1)
        for values in (settings.preprocessing.mean, settings.preprocessing.std)
    )
    features = network(((image - mean) / std).unsqueeze(0))
    index = pixel_maps(network, image, settings, max(image.shape)).index
    return features, relabel_by_appearance(index.numpy() + 1)
