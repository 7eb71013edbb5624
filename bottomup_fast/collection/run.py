"""A collection from start to end, by either engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from enum import StrEnum

from bottomup_fast.collection.items import Item
from bottomup_fast.collection.output import claimed
from bottomup_fast.collection.worker import Job, Outcome, Worker


class Engine(StrEnum):
    """Who segments a collection: this process, or Ray."""

    LOCAL = "local"
    RAY = "ray"


@contextmanager
def segmenting(
    job: Job, items: Sequence[Item], engine: Engine, workers: int | None = None
) -> Iterator[Iterator[Outcome]]:
    """Yield an iterator that segments what is not there yet, and says what became of each item.

    The local engine goes in the order of the items, Ray as it comes. Loading the model and claiming
    the output folder happen on entry.

    Raises InputError if the model or a setting is wrong, if the output folder has results of
    another recipe, or if Ray is asked for and missing.
    """
    folders = [item.folder for item in items]
    if engine is Engine.LOCAL:
        worker = Worker(job)
        with claimed(job.output, worker.recipe, folders, overwrite=job.overwrite):
            yield map(worker, items)
        return

    from bottomup_fast.collection.ray_engine import check_ray, segment_on_ray

    check_ray()
    recipe = Worker(replace(job, device="cpu")).recipe  # the devices are those of the actors
    with (
        claimed(job.output, recipe, folders, overwrite=job.overwrite),
        closing(segment_on_ray(job, recipe.digest(), items, workers)) as outcomes,
    ):
        yield outcomes
