"""One image at a time: found finished, segmented, or failed. Every engine runs this."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bottomup_fast.collection.items import Item
from bottomup_fast.collection.output import UNFINISHED, Record, finished, publish
from bottomup_fast.collection.recipe import Recipe
from bottomup_fast.errors import InputError
from bottomup_fast.settings import Precision

if TYPE_CHECKING:
    from bottomup_fast.segmenter import Segmenter

ATTEMPTS = 3
"""An image that ends this many workers has failed."""


@dataclass(frozen=True)
class Outcome:
    """What became of one image; `seconds` is None where an earlier run segmented it."""

    image: str
    output: str
    segments: int | None = None
    seconds: float | None = None
    error: str | None = None


@dataclass(frozen=True)
class Job:
    """What to do with every image: with which model, as `Segmenter` takes it, and where to."""

    model: str
    output: Path
    device: str = "auto"
    resolutions: tuple[int, ...] | None = None
    scale: float | None = None
    keep_background: bool = False
    overwrite: bool = False
    precision: Precision = "fast"

    def segmenter(self) -> Segmenter:
        """Load the model.

        Raises InputError for a wrong model, device or setting.
        """
        from bottomup_fast.segmenter import Segmenter

        return Segmenter(
            self.model,
            self.device,
            self.resolutions,
            scale=self.scale,
            keep_background=self.keep_background,
            precision=self.precision,
        )

    def absolute(self) -> Job:
        """The same job for a process in another folder."""
        is_file = self.model.endswith(".safetensors")
        model = str(Path(self.model).absolute()) if is_file else self.model
        return replace(self, model=model, output=self.output.absolute())


class Worker:
    """A job with its model loaded."""

    def __init__(self, job: Job, segmenter: Segmenter | None = None) -> None:
        self.job = job
        self.segmenter = job.segmenter() if segmenter is None else segmenter
        self.recipe = Recipe.of(self.segmenter, job.model)
        self._digest = self.recipe.digest()

    def __call__(self, item: Item) -> Outcome:
        """Segment an image unless its results are there; whatever is wrong with it is its error.

        Raises OSError or InputError if the results cannot be written: neither could the next ones.
        """
        folder = self.job.output / item.folder
        done = None if self.job.overwrite else finished(folder, item.path, self._digest)
        if done is not None:
            return Outcome(str(item.path), str(folder), done.segments)
        unfinished = self.job.output / UNFINISHED / item.folder
        unfinished.mkdir(parents=True, exist_ok=True)
        attempts = len(list(unfinished.iterdir()))
        if attempts >= ATTEMPTS:
            reason = f"{item.path}: ended its worker {attempts} times"
            return Outcome(str(item.path), str(folder), error=reason)
        stage = unfinished / str(attempts)
        stage.mkdir()
        try:
            return self._segment(item, stage, folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)

    def _segment(self, item: Item, stage: Path, folder: Path) -> Outcome:
        start = time.perf_counter()
        try:
            record = Record.before(item.path, self._digest)
            found = self.segmenter.segment(item.path)
        except InputError as error:
            return Outcome(str(item.path), str(folder), error=str(error))
        except OSError as error:
            reason = f"{item.path}: {error.strerror}"
            return Outcome(str(item.path), str(folder), error=reason)
        except Exception as error:  # such as too little memory for this image
            reason = " ".join(f"{item.path}: {type(error).__name__}: {error}".split())
            return Outcome(str(item.path), str(folder), error=reason)
        seconds = time.perf_counter() - start
        found.save(stage)
        publish(stage, folder, record.model_copy(update={"segments": len(found)}))
        return Outcome(str(item.path), str(folder), len(found), round(seconds, 4))
