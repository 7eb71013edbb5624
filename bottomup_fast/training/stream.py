"""The endless stream of training samples: sample i depends on the seed and i alone.

So the number of workers changes nothing, and a resumed run continues with the sample that the
stopped one would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from bottomup_fast.data.folder import FolderDataset
from bottomup_fast.data.shapes import ShapesDataset
from bottomup_fast.data.transforms import augment, tidy_labels
from bottomup_fast.preprocessing import to_unit_range
from bottomup_fast.reference.lines import erode_labels
from bottomup_fast.settings import ModelSettings, PreprocessingSettings
from bottomup_fast.training.config import (
    DataSettings,
    FolderSource,
    ShapesSource,
    TrainingConfig,
    data_path,
)

UNKNOWN = -1
ORIGINS = 1024.0
"""Crops are placed up to so far (pixels) from the corner of an imagined image."""


class Batch(NamedTuple):
    """Training samples, one per row.

    Attributes:
        images: (B, 3, H, W) float32, normalised for the network.
        labels: (B, H, W) int32, eroded: -1 ignore, 0 background, 1..K.
        foreground: (B, H, W) int8: 1 object, 0 background, -1 unknown.
        origin: (B, 2) float32, the (y, x) position of the crop for the network's position code.
        seeds: (B,) int64, of the contrast's draws.
    """

    images: Tensor
    labels: Tensor
    foreground: Tensor
    origin: Tensor
    seeds: Tensor


class TrainingStream(Dataset[Batch]):
    """Single samples (without the batch axis) by their global index."""

    def __init__(self, config: TrainingConfig) -> None:
        self.data: DataSettings = config.data
        self.model: ModelSettings = config.model
        self.seed = config.seed
        self.max_entities = config.loss.max_entities
        self.sources = [
            open_source(source, config.seed, self.model.preprocessing, self.data.cache_images)
            for source in self.data.sources
        ]
        weights = np.array([source.weight for source in self.data.sources])
        self.cumulative = np.cumsum(weights / weights.sum())

    def images_per_epoch(self) -> int:
        """Images of all folders together (of 1000 for endless sources alone)."""
        finite = [len(s) for s in self.sources if isinstance(s, CachedFolder)]
        return sum(finite) or 1000

    def __len__(self) -> int:
        return 2**62

    def __getitem__(self, index: int) -> Batch:
        generator = np.random.default_rng([self.seed, index])
        number = int(np.searchsorted(self.cumulative, generator.random(), side="right"))
        number = min(number, len(self.sources) - 1)
        source = self.sources[number]
        image, labels = source[int(generator.integers(len(source)))]
        settings = self.data.augmentation
        view, view_labels = augment(image, labels, self.data.crop, settings, generator)
        view_labels = tidy_labels(view_labels, max_entities=self.max_entities)
        foreground = np.sign(view_labels).astype(np.int8)
        if not source.complete:
            foreground[foreground == 0] = UNKNOWN
        eroded = erode_labels(torch.from_numpy(view_labels), self.data.erosion)
        preprocessing = self.model.preprocessing
        mean, std = (np.asarray(v, np.float32) for v in (preprocessing.mean, preprocessing.std))
        return Batch(
            torch.from_numpy((view - mean) / std).permute(2, 0, 1),
            eroded,
            torch.from_numpy(foreground),
            torch.from_numpy(generator.uniform(0, ORIGINS, 2).astype(np.float32)),
            torch.tensor(generator.integers(2**63)),
        )


class CachedFolder:
    """A folder's images in [0, 1] with their labels, decoded once."""

    def __init__(
        self, source: FolderSource, preprocessing: PreprocessingSettings, cache_images: int
    ) -> None:
        self.dataset = FolderDataset(data_path(source.path), source.split, dict(source.where))
        self.complete = source.background == "complete"
        self.preprocessing = preprocessing
        self._load = lru_cache(cache_images)(self._read)

    def _read(self, index: int) -> tuple[NDArray[np.float16], NDArray[np.int32]]:
        sample = self.dataset[index]
        # Half precision: 2^-11 is finer than the 8-bit steps of nearly all images.
        return to_unit_range(sample.image, self.preprocessing).astype(np.float16), sample.labels

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        image, labels = self._load(index)
        return image.astype(np.float32), labels


class SyntheticScenes:
    """Procedural scenes in [0, 1]."""

    def __init__(
        self, source: ShapesSource, seed: int, preprocessing: PreprocessingSettings
    ) -> None:
        self.dataset = ShapesDataset(
            source.size, source.size, seed, source.max_shapes, backdrop=source.backdrop
        )
        self.complete = source.backdrop == "background"
        self.preprocessing = preprocessing

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        image, labels = self.dataset[index]
        return to_unit_range(image, self.preprocessing), labels


def open_source(
    source: FolderSource | ShapesSource,
    seed: int,
    preprocessing: PreprocessingSettings,
    cache_images: int,
) -> CachedFolder | SyntheticScenes:
    """The data set a configuration names."""
    if isinstance(source, FolderSource):
        return CachedFolder(source, preprocessing, cache_images)
    return SyntheticScenes(source, seed, preprocessing)


class _Onwards(Sampler[list[int]]):
    """Batches of consecutive indices from a step on, without end."""

    def __init__(self, first_step: int, batch_size: int) -> None:
        self.first_step, self.batch_size = first_step, batch_size

    def __iter__(self) -> Iterator[list[int]]:
        step = self.first_step
        while True:
            yield list(range(step * self.batch_size, (step + 1) * self.batch_size))
            step += 1


def stream_batches(stream: TrainingStream, first_step: int) -> DataLoader[Any]:
    """Batches from `first_step` on."""
    workers = stream.data.workers
    return DataLoader(
        stream,
        batch_sampler=_Onwards(first_step, stream.data.batch_size),
        num_workers=workers,
        # Any other way of starting a worker would pickle the stream, which its caches forbid.
        multiprocessing_context="fork" if workers else None,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_one_thread,
    )


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)
