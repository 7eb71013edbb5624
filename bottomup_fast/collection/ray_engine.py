"""A collection on Ray Data: a model per actor, which reads images and writes results itself."""

from __future__ import annotations

import importlib.util
import json
import logging
import math
import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bottomup_fast.collection.items import Item
from bottomup_fast.collection.output import locked
from bottomup_fast.collection.worker import Job, Outcome, Worker
from bottomup_fast.errors import InputError

_SMALLEST_BLOCKS = 64  # a worker, of as few images as that makes
_LARGEST_BLOCK = 64  # images
_ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
"""Unless set otherwise: Ray reports nothing to its makers, and only what stops it to stderr."""


def check_ray() -> None:
    """Raise InputError if Ray Data is not installed."""
    if any(importlib.util.find_spec(name) is None for name in ("ray", "pyarrow", "pandas")):
        raise InputError("--engine ray: Ray Data is missing; pip install 'bottomup-fast[ray]'")


def segment_on_ray(
    job: Job, recipe: str, items: Sequence[Item], workers: int | None = None
) -> Generator[Outcome, None, None]:
    """Do a job for all items on Ray; yields outcomes as they come.

    Uses the cluster this process is connected to, or that of RAY_ADDRESS, or starts one on this
    machine. All its machines must see the images and the output folder under the same paths.
    `recipe` is the digest that the workers' own must equal. `workers` are by default as many as the
    cluster has GPUs, or CPUs if it has none or the device is "cpu"; they share all of these.

    Raises InputError if a worker cannot load the model, or has another one or another version of
    this package; if results cannot be written; or if Ray itself fails.
    """
    import ray
    from ray.data import ActorPoolStrategy

    with _cluster() as resources:
        cpus = max(1.0, resources.get("CPU", 1.0))
        gpus = 0.0 if job.device == "cpu" else resources.get("GPU", 0.0)
        count = min(workers or int(gpus or cpus), len(items))
        dataset = ray.data.from_items(
            [{"item": _packed(item)} for item in items],
            override_num_blocks=_blocks(len(items), count),
        ).map(
            _Actor,
            fn_constructor_args=(job.absolute(), recipe),
            compute=ActorPoolStrategy(size=count),
            num_cpus=_share(cpus, count),
            num_gpus=min(1.0, _share(gpus, count)) if gpus else 0.0,
        )
        named = {item.folder: item for item in items}
        try:
            for row in dataset.iter_rows():
                folder, outcome, fatal = json.loads(row["result"])
                if fatal:
                    raise InputError(fatal)
                yield _as_named(Outcome(**outcome), named[folder], job)
        except ray.exceptions.RayError as error:
            raise InputError(f"--engine ray: {str(error).splitlines()[0]}") from error


class _Actor:
    """A worker that also keeps the output folder from later runs while it lives.

    Ray would try again after an exception. What no other try can mend is a result instead.
    """

    def __init__(self, job: Job, recipe: str) -> None:
        self._lock = ExitStack()
        self._worker: Worker | None = None
        self._fatal: str | None = None
        try:
            self._lock.enter_context(locked(job.output, alone=False))
            self._worker = Worker(job)
            if self._worker.recipe.digest() != recipe:
                host = os.uname().nodename
                raise InputError(
                    f"model: on {host}, {job.model} or the package's version is another"
                )
        except (InputError, OSError) as error:
            self._fatal = str(error)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        path, name, folder = json.loads(row["item"])
        outcome = None
        if self._worker is not None and self._fatal is None:
            try:
                outcome = asdict(self._worker(Item(Path(path), name, folder)))
            except (InputError, OSError) as error:
                self._fatal = str(error)
        return {"result": json.dumps([folder, outcome, self._fatal])}


def _packed(item: Item) -> str:
    """JSON, since Arrow's strings cannot hold every file name."""
    return json.dumps([str(item.path.absolute()), item.name, item.folder])


def _as_named(outcome: Outcome, item: Item, job: Job) -> Outcome:
    """The outcome under the paths that the caller gave."""
    path, error = str(item.path), outcome.error
    if error is not None:
        error = error.replace(str(item.path.absolute()), path)
    return replace(outcome, image=path, output=str(job.output / item.folder), error=error)


@contextmanager
def _cluster() -> Iterator[dict[str, float]]:
    """What a cluster has; one that is started here is stopped again."""
    import ray

    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    started = not ray.is_initialized()
    if started:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    context = ray.data.DataContext.get_current()
    shown, context.enable_progress_bars = context.enable_progress_bars, False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        yield ray.cluster_resources()
    finally:
        context.enable_progress_bars = shown
        if started:
            ray.shutdown()


def _blocks(images: int, workers: int) -> int:
    """Few images a block, so that all workers end together; not too many blocks for the driver."""
    return min(images, max(_SMALLEST_BLOCKS * workers, images // _LARGEST_BLOCK))


def _share(amount: float, workers: int) -> float:
    """What each worker gets so that all of them fit: a whole number, or one part of one."""
    return float(amount // workers) if amount >= workers else 1 / math.ceil(workers / amount)
