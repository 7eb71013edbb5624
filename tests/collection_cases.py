"""A collection of tiny images and a segmenter for them that needs no network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from bottomup_fast import Segmentation
from bottomup_fast.collection.items import Item, find_items
from bottomup_fast.collection.worker import Job, Worker
from bottomup_fast.images import read_image
from bottomup_fast.settings import ModelSettings

SETTINGS = ModelSettings.model_validate(
    {
        "name": "threshold",
        "architecture": {"name": "none", "feature_dim": 1},
        "preprocessing": {"scale": 1.0},
    }
)


class Threshold:
    """Segments what is brighter than 127; remembers what it was given."""

    settings = SETTINGS
    keep_background = False
    leave_outliers = False
    tile_size = 1024
    precision = "fast"

    def __init__(self) -> None:
        self.seen: list[str] = []

    def segment(self, path: Path) -> Segmentation:
        self.seen.append(path.name)
        image = read_image(path)
        return Segmentation((image[..., 0] > 127).astype(np.int32), image=image)


def make_collection(folder: Path, count: int = 3) -> tuple[list[Item], Job]:
    """Images of one bright block each, and a job for them."""
    (folder / "images").mkdir()
    for number in range(count):
        pixels = np.zeros((8, 12), np.uint8)
        pixels[1 : 4 + number, 2:5] = 255
        Image.fromarray(pixels).save(folder / f"images/{number}.png")
    (folder / "model.safetensors").write_bytes(b"threshold")
    return find_items(folder / "images"), Job(str(folder / "model.safetensors"), folder / "out")


def make_worker(job: Job) -> tuple[Worker, list[str]]:
    """A worker, and the names of the images that it segments."""
    segmenter = Threshold()
    return Worker(job, segmenter), segmenter.seen  # type: ignore[arg-type]
