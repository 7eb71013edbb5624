"""The folder of a collection's results: what made it, and what in it is finished."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import ValidationError

from bottomup_fast.collection.recipe import Recipe, file_digest
from bottomup_fast.errors import InputError
from bottomup_fast.settings import Settings

RUN = "run.json"
RECORD = "record.json"
UNFINISHED = ".unfinished"
LOCK = ".lock"
LOCK_SECONDS = 10.0
"""How long a run waits for the last workers of a killed one."""


class Record(Settings):
    """Written last among the results of an image: what they were made from, by, and which they are.

    Attributes:
        image: name of the image.
        image_bytes: its size,
        image_modified_ns: time of its last change,
        image_sha256: and digest, which decides if the time is another one.
        recipe: digest of the recipe.
        segments: how many were found.
        files: digests of the files beside this one.
    """

    image: str
    image_bytes: int
    image_modified_ns: int
    image_sha256: str
    recipe: str
    segments: int
    files: dict[str, str]

    @classmethod
    def before(cls, image: Path, recipe: str) -> Record:
        """The record of an image that is about to be segmented."""
        status = image.stat()
        return cls(
            image=image.name,
            image_bytes=status.st_size,
            image_modified_ns=status.st_mtime_ns,
            image_sha256=file_digest(image),
            recipe=recipe,
            segments=0,
            files={},
        )

    def is_of(self, image: Path) -> bool:
        """Whether the image is still the one that was segmented."""
        status = image.stat()
        return status.st_size == self.image_bytes and (
            status.st_mtime_ns == self.image_modified_ns or file_digest(image) == self.image_sha256
        )


def finished(folder: Path, image: Path, recipe: str) -> Record | None:
    """The record of an image's results if they are whole and of this image and recipe."""
    try:
        record = Record.model_validate_json((folder / RECORD).read_bytes())
        whole = all(file_digest(folder / name) == sha for name, sha in record.files.items())
        return record if whole and record.recipe == recipe and record.is_of(image) else None
    except (OSError, ValidationError):
        return None


def publish(stage: Path, folder: Path, record: Record) -> None:
    """Move a folder of results to its place, from where on the image counts as finished.

    Results that are there already are replaced; no other file is touched.
    """
    record = record.model_copy(
        update={"files": {file.name: file_digest(file) for file in sorted(stage.iterdir())}}
    )
    (stage / RECORD).write_text(record.model_dump_json(), encoding="utf-8")
    try:
        stage.rename(folder)
        return
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
    (folder / RECORD).unlink(missing_ok=True)  # while old and new files lie side by side
    for name in (*record.files, RECORD):
        (stage / name).replace(folder / name)


@contextmanager
def claimed(
    folder: Path, recipe: Recipe, folders: Iterable[str], *, overwrite: bool
) -> Iterator[None]:
    """Make `folder` hold results of this recipe, for one run at a time.

    Raises InputError if another run writes to it, if it was made by another recipe, or if it has
    one of `folders` but does not say what made it; with `overwrite` only for the first reason.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder, alone=True) as lock:
        if not overwrite:
            _check(folder, recipe, folders)
        shutil.rmtree(folder / UNFINISHED, ignore_errors=True)
        with staged(folder / RUN) as path:
            path.write_text(recipe.model_dump_json(indent=1), encoding="utf-8")
        fcntl.flock(lock, fcntl.LOCK_SH)  # for its workers to share
        try:
            yield
        finally:
            shutil.rmtree(folder / UNFINISHED, ignore_errors=True)


@contextmanager
def staged(path: Path) -> Iterator[Path]:
    """Yield a path among what is unfinished, to be moved to `path` on success.

    Unlike a temporary file beside `path`, it is gone with the next run if this one is killed.
    """
    temporary = path.parent / UNFINISHED / path.name
    temporary.parent.mkdir(exist_ok=True)
    yield temporary
    temporary.replace(path)


@contextmanager
def locked(folder: Path, *, alone: bool) -> Iterator[int]:
    """Hold the folder's lock, alone or with others of the same run; a killed process loses it.

    Raises InputError if somebody else still has it after LOCK_SECONDS.
    """
    handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            with suppress(BlockingIOError):
                fcntl.flock(handle, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
                break
            if time.monotonic() > deadline:
                raise InputError(f"{folder}: another run is writing to it")
            time.sleep(0.1)
        yield handle
    finally:
        os.close(handle)


def _check(folder: Path, recipe: Recipe, folders: Iterable[str]) -> None:
    remedy = "choose another --output, or --overwrite it"
    path = folder / RUN
    if not path.exists():
        taken = next((name for name in folders if (folder / name).exists()), None)
        if taken is not None:
            raise InputError(f"{folder}: has {taken}, but no {RUN} says what made it; {remedy}")
        return
    try:
        then = Recipe.model_validate_json(path.read_bytes())
    except ValidationError:
        raise InputError(f"{path}: does not say what made the results; {remedy}") from None
    difference = then.difference(recipe)
    if difference:
        raise InputError(f"{folder}: made otherwise ({difference}); {remedy}")
