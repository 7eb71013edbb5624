"""The endless stream of training samples: sample i depends on the seed and i alone.

So the number of workers changes nothing, a resumed run continues with the sample that the stopped
one would have seen, and several processes see together what one would with larger batches.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from functools import lru_cache
from itertools import count
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from bottomup_fast.data.shapes import ShapesDataset
from bottomup_fast.data.sources import DatasetSource, ShapesSource
from bottomup_fast.data.transforms import augment, ignore_beyond
from bottomup_fast.errors import InputError
from bottomup_fast.preprocessing import to_unit_range
from bottomup_fast.reference.lines import erode_labels
from bottomup_fast.settings import ModelSettings, PreprocessingSettings
from bottomup_fast.training.config import DataSettings, TrainingConfig

logger = logging.getLogger(__name__)

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
        donors = [isinstance(source, CachedImages) for source in self.sources]
        if self.data.augmentation.paste and not any(donors):
            raise InputError("data.augmentation.paste: needs a source of annotated images")
        self.cumulative_donors = np.cumsum(weights * donors / max(1e-9, (weights * donors).sum()))

    def images_per_epoch(self) -> int:
        """Images of all data sets together (of 1000 for endless sources alone)."""
        finite = [len(s) for s in self.sources if isinstance(s, CachedImages)]
        return sum(finite) or 1000

    def __len__(self) -> int:
        return 2**62

    def __getitem__(self, index: int) -> Batch:
        generator = np.random.default_rng([self.seed, index])
        image, labels, complete = self._draw(self.cumulative, generator)
        settings = self.data.augmentation
        donor = None
        if settings.paste and generator.random() < settings.paste:
            donor = self._draw(self.cumulative_donors, generator)[:2]
        view, view_labels = augment(
            image, labels, self.data.crop, settings, generator, self.max_entities, donor
        )
        foreground = np.sign(view_labels).astype(np.int8)
        if not complete:
            foreground[foreground == 0] = UNKNOWN
        if self.data.surround is not None:
            view_labels = ignore_beyond(view_labels, self.data.surround)
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

    def _draw(self, cumulative: NDArray[np.float64], generator: np.random.Generator) -> Annotated:
        """A random image of a random source."""
        number = int(np.searchsorted(cumulative, generator.random(), side="right"))
        source = self.sources[min(number, len(self.sources) - 1)]
        return source[int(generator.integers(len(source)))]


Annotated: TypeAlias = tuple[NDArray[np.float32], NDArray[np.int32], bool]
"""Image (H, W, 3) in [0, 1], labels (H, W), and whether all of label 0 is background."""


class CachedImages:
    """Images of a data set, decoded once."""

    def __init__(
        self, source: DatasetSource, preprocessing: PreprocessingSettings, cache_images: int
    ) -> None:
        self.dataset = source.open()
        self.preprocessing = preprocessing
        self.told = 0
        self._load = lru_cache(cache_images)(self._read)

    def _read(self, index: int) -> tuple[NDArray[np.float16], NDArray[np.int32], bool]:
        sample = self.dataset[index]
        for reason in self.dataset.skipped[self.told :]:
            logger.warning("skipped: %s", reason)
        self.told = len(self.dataset.skipped)
        complete = (sample.background or self.dataset.background) == "complete"
        # Half precision: 2^-11 is finer than the 8-bit steps of nearly all images.
        image = to_unit_range(sample.image, self.preprocessing).astype(np.float16)
        return image, sample.labels, complete

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Annotated:
        image, labels, complete = self._load(index)
        return image.astype(np.float32), labels, complete


class SyntheticScenes:
    """Procedural scenes."""

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

    def __getitem__(self, index: int) -> Annotated:
        image, labels = self.dataset[index]
        return to_unit_range(image, self.preprocessing), labels, self.complete


def open_source(
    source: DatasetSource | ShapesSource,
    seed: int,
    preprocessing: PreprocessingSettings,
    cache_images: int,
) -> CachedImages | SyntheticScenes:
    """The data set a configuration names."""
    if isinstance(source, DatasetSource):
        return CachedImages(source, preprocessing, cache_images)
    return SyntheticScenes(source, seed, preprocessing)


class _Onwards(Sampler[list[int]]):
    """Batches of consecutive indices from a batch on, without end: every `stride`-th of them."""

    def __init__(self, first: int, stride: int, batch_size: int) -> None:
        self.first, self.stride, self.batch_size = first, stride, batch_size

    def __iter__(self) -> Iterator[list[int]]:
        for batch in count(self.first, self.stride):
            yield list(range(batch * self.batch_size, (batch + 1) * self.batch_size))


def stream_batches(
    stream: TrainingStream, first: int, rank: int = 0, processes: int = 1
) -> DataLoader[Any]:
    """Batches from number `first` on, which process `rank` of several counts for itself.

    The batches of the same number are consecutive: together they are one of a single process with
    so much larger batches.
    """
    workers = stream.data.workers
    return DataLoader(
        stream,
        batch_sampler=_Onwards(first * processes + rank, processes, stream.data.batch_size),
        num_workers=workers,
        # Any other way of starting a worker would pickle the stream, which its caches forbid.
        multiprocessing_context="fork" if workers else None,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_start_worker,
        pin_memory=torch.cuda.is_available(),
    )


def _start_worker(_: int) -> None:
    torch.set_num_threads(1)
    # Schedulers tell all processes of a job to stop; the training still needs its workers to reach
    # the end of an update, and ends them itself.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
