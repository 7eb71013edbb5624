"""The mean-shift ops on a device, from and to numpy arrays; features are (B, D, N)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from devices import Device
from numpy.typing import NDArray

Array = NDArray[Any]
TYPES = ("float32", "float64", "float16", "bfloat16")
LAYOUTS = ("pixels", "channels", "padded pixels", "padded channels", "neither")
STATUS = {"ok": 0, "num_modes": 1, "modes": 2, "features": 3, "points": 5, "seeds": 6}


@dataclass(frozen=True)
class Features:
    """Numbers in memory, and what the entry functions want to know of them."""

    memory: Array
    sizes: NDArray[np.int64]


def to_bfloat16(values: Array) -> NDArray[np.uint16]:
    bits = values.astype(np.float32).view(np.uint32)
    rounded = ((bits.astype(np.uint64) + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(values), 0x7FC0, rounded).astype(np.uint16)


def from_bfloat16(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    return (bits.astype(np.uint32) << 16).view(np.float32)


def as_type(values: Array, kind: str) -> Array:
    """The values as numbers of a type, bfloat16 as its bits."""
    return to_bfloat16(values) if kind == "bfloat16" else values.astype(kind)


def rounded(values: Array, kind: str) -> NDArray[np.float64]:
    """What of the values is left in a type."""
    numbers = as_type(values, kind)
    return (from_bfloat16(numbers) if kind == "bfloat16" else numbers).astype(np.float64)


def in_memory(values: Array, kind: str = "float32", layout: str = "pixels") -> Features:
    """(B, D, N) values with pixels or channels side by side, or neither.

    Padded ones begin at multiples of 16 numbers, whatever their count.
    """
    numbers = as_type(values, kind)
    batch, dimensions, pixels = values.shape
    step = 2 if layout == "neither" else 1
    if "channels" in layout:
        row = -(-dimensions // 16) * 16 if "padded" in layout else dimensions
        memory = np.zeros((batch, pixels, row), numbers.dtype)
        memory[..., :dimensions] = numbers.transpose(0, 2, 1)
        strides = (pixels * row, 1, row)
    else:
        row = -(-pixels // 16) * 16 if "padded" in layout else step * pixels
        memory = np.zeros((batch, dimensions, row), numbers.dtype)
        memory[..., : step * pixels : step] = numbers
        strides = (dimensions * row, row, step)
    return Features(memory, np.array([*values.shape, TYPES.index(kind), *strides], np.int64))


def normalise(values: Array, axis: int = -1) -> NDArray[np.float64]:
    values = values.astype(np.float64)
    norm = np.sqrt(np.square(values).sum(axis, keepdims=True))
    return values / np.maximum(norm, 1e-6)


def room(size: int) -> NDArray[np.uint8]:
    """A workspace, of bytes that are NaN as floats."""
    return np.full(size, 0xFF, np.uint8)


def unwritten(shape: tuple[int, ...], kind: type) -> Array:
    return np.full(shape, -77, kind)


class Assignment(NamedTuple):
    index: Array
    score: Array
    status: int


def assign(device: Device, features: Features, modes: Array, num_modes: Array) -> Assignment:
    batch, _, pixels = features.sizes[:3].tolist()
    index = unwritten((batch, pixels), np.int32)
    score = unwritten((batch, pixels), np.float32)
    status = np.zeros(1, np.int32)
    device.run(
        "meanshift_assign",
        *(features.memory, features.sizes, modes.astype(np.float32), num_modes.astype(np.int32)),
        *(modes.shape[1], index, score, status),
    )
    return Assignment(index, score, int(status[0]))


class Climbed(NamedTuple):
    modes: Array
    support: Array
    status: int


def mean_shift(
    device: Device,
    points: Features,
    seeds: Features,
    bandwidth: float = 45.0,
    tolerance: float = 1e-6,
    max_steps: int = 20,
) -> Climbed:
    batch, dimensions, count = seeds.sizes[:3].tolist()
    modes = unwritten((batch, count, dimensions), np.float32)
    support = unwritten((batch, count), np.int32)
    status = np.zeros(1, np.int32)
    workspace = room(device.size("meanshift_mean_shift_workspace", points.sizes, seeds.sizes))
    device.run(
        "meanshift_mean_shift",
        *(points.memory, points.sizes, seeds.memory, seeds.sizes),
        *(bandwidth, tolerance, max_steps, modes, support, workspace, status),
    )
    return Climbed(modes, support, int(status[0]))


class Clusters(NamedTuple):
    labels: Array
    num_segments: Array
    score: Array
    modes: Array
    support: Array
    num_modes: Array
    status: int


def cluster(
    device: Device,
    features: Features,
    mask: Array | None = None,
    bandwidth: float = 45.0,
    min_support: int = 10,
    rounds: int = 8,
    fast: bool = False,
    max_modes: int = 1024,
) -> Clusters:
    batch, dimensions, pixels = features.sizes[:3].tolist()
    labels = unwritten((batch, pixels), np.int32)
    score = unwritten((batch, pixels), np.float32)
    modes = unwritten((batch, max_modes, dimensions), np.float32)
    support = unwritten((batch, max_modes), np.int32)
    num_segments, num_modes = (unwritten((batch,), np.int32) for _ in range(2))
    status = np.zeros(1, np.int32)
    sizes = features.sizes
    workspace = room(
        device.size("meanshift_cluster_workspace", sizes, bandwidth, int(fast), max_modes)
    )
    device.run(
        "meanshift_cluster",
        *(features.memory, sizes, mask, bandwidth, min_support, rounds, int(fast), max_modes),
        *(labels, num_segments, score, modes, support, num_modes, workspace, status),
    )
    return Clusters(labels, num_segments, score, modes, support, num_modes, int(status[0]))
