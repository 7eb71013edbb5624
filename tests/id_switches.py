"""How often objects change their ids on the clip of the examples, whose motion is known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib import util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageSequence

Map = NDArray[np.integer[Any]]

EXAMPLES = Path(__file__).parents[1] / "examples"
_SMALLEST = 60  # pixels of an object in a frame


def example(name: str) -> ModuleType:
    """A script of the examples as a module."""
    specification = util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert specification is not None
    assert specification.loader is not None
    module = util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def clip() -> list[NDArray[np.uint8]]:
    with Image.open(EXAMPLES / "drift.webp") as animation:
        return [np.asarray(one.convert("RGB")) for one in ImageSequence.Iterator(animation)]


def objects_in_frames(micrograph: Map) -> Iterator[Map]:
    """The labels of a segmented micrograph as the frames of the clip see them."""
    make_clip = example("make_clip")
    for frame in range(make_clip.FRAMES):
        y, x = np.rint(make_clip.place(frame)).astype(np.intp)
        yield micrograph[y, x]


def count_switches(truth: Iterable[Map], found: Iterable[Map]) -> tuple[int, int]:
    """Id switches as of the MOTA, and the observations they are among.

    An observation is an object that a segment covers with an IoU above 0.5; a switch is one whose
    segment has another id than at the object's observation before.
    """
    last: dict[int, int] = {}
    switches = observations = 0
    for objects, ids in zip(truth, found, strict=True):
        for number in np.unique(objects[objects > 0]).tolist():
            inside = objects == number
            values, common = np.unique(ids[inside], return_counts=True)
            common[values == 0] = 0
            candidate = int(values[common.argmax()])
            union = np.count_nonzero(inside | (ids == candidate))
            if np.count_nonzero(inside) < _SMALLEST or common.max() * 2 <= union:
                continue
            observations += 1
            switches += last.get(number, candidate) != candidate
            last[number] = candidate
    return switches, observations
