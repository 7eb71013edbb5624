"""`bottomup segment`: an image or a collection of them to label maps, records and overlays."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from bottomup_fast.cli.common import (
    DeviceOption,
    JsonOption,
    ModelOption,
    print_json,
    progress_bar,
    thumbnail,
)
from bottomup_fast.collection.items import LIST_SUFFIX, find_items
from bottomup_fast.collection.output import staged
from bottomup_fast.collection.reports import OVERVIEW, RESERVED, Reports
from bottomup_fast.collection.run import Engine, segmenting
from bottomup_fast.collection.worker import Job, Outcome
from bottomup_fast.errors import InputError
from bottomup_fast.settings import Precision

_OVERVIEW_IMAGES = 24
_OVERVIEW_COLUMNS = 6
_OVERVIEW_SIDE = 320  # pixels


def segment(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="IMAGE|DIR|LIST.txt",
            help="An image, a folder of images, or a text file of paths relative to its folder.",
        ),
    ],
    model: ModelOption = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Folder of the results, with a sub-folder for each image of DIR; by default "
            "segments/IMAGE_STEM for an image, segments for DIR.",
        ),
    ] = None,
    resolutions: Annotated[
        str | None, typer.Option(metavar="SIDES", help="Longer sides in pixels, such as 256,512.")
    ] = None,
    scale: Annotated[
        float | None, typer.Option(help="Zoom of the image before the network, instead.")
    ] = None,
    keep_background: Annotated[
        bool, typer.Option("--keep-background", help="Label the background too.")
    ] = False,
    device: DeviceOption = "auto",
    precision: Annotated[
        Precision,
        typer.Option(help="Of the network: fast is bfloat16 where the CPU has units for it."),
    ] = "fast",
    engine: Annotated[
        Engine, typer.Option(help="Of DIR: this process, or the machines of a Ray cluster.")
    ] = Engine.LOCAL,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Models of --engine ray; by default one a GPU, or else a CPU."),
    ] = None,
    as_json: JsonOption = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Of DIR: segment again what is already there.")
    ] = False,
) -> None:
    """Segment an image or a collection of images.

    Images of a collection that are there from an earlier run with the same model and settings are
    skipped. Exits with 1 if some of its images failed.
    """
    if not source.exists():
        raise InputError(f"{source}: no such file or folder")
    is_list = source.is_file() and source.suffix.lower() == LIST_SUFFIX
    of_many = source.is_dir() or is_list
    target = output or Path("segments") / ("" if of_many else source.stem)
    images = source if source.is_dir() else source.parent
    if not is_list and target.resolve() == images.resolve():
        raise InputError(f"--output: {target} is the folder of the images; choose another")
    if workers is not None and engine is not Engine.RAY:
        raise InputError("--workers: needs --engine ray")
    if engine is Engine.RAY and not of_many:
        raise InputError("--engine ray: needs a folder or a list of images")
    sides = None if resolutions is None else _sides(resolutions)

    from bottomup_fast.models.weights import DEFAULT_MODEL

    job = Job(
        model or DEFAULT_MODEL,
        target,
        device,
        sides,
        scale,
        keep_background,
        overwrite,
        precision,
    )
    if of_many:
        _segment_collection(job, source, engine, workers, as_json)
    else:
        _segment_image(job, source, as_json)


def _sides(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(side) for side in text.split(","))
    except ValueError:
        raise InputError(f"--resolutions: expected pixels such as 256,512, got {text!r}") from None


def _segment_image(job: Job, image: Path, as_json: bool) -> None:
    segmenter = job.segmenter()
    job.output.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    found = segmenter.segment(image)
    seconds = time.perf_counter() - start
    found.save(job.output)
    if as_json:
        print_json(asdict(Outcome(str(image), str(job.output), len(found), round(seconds, 4))))
    else:
        typer.echo(f"{len(found)} segments in {seconds:.2f} s, written to {job.output}")


def _segment_collection(
    job: Job, source: Path, engine: Engine, workers: int | None, as_json: bool
) -> None:
    """Segment what is not there yet; exits with 1 if an image failed."""
    items = find_items(source, RESERVED)
    with segmenting(job, items, engine, workers) as outcomes:
        reports = Reports(job.output, items)
        try:
            with progress_bar() as bar:
                for outcome in bar.track(outcomes, total=len(items), description="segmenting"):
                    reports.add(outcome)
                    if outcome.error is not None:
                        typer.echo(f"error: {outcome.error}", err=True)
                    if as_json:
                        print_json(asdict(outcome))
        finally:
            reports.write_summary()
        _draw_overview(job.output / OVERVIEW, reports.outcomes())
    counts = reports.counts()
    if as_json:
        print_json({"output": str(job.output), **counts})
    else:
        typer.echo(f"{_counted(**counts)}; written to {job.output}")
    if counts["failed"]:
        raise typer.Exit(1)


def _counted(images: int, segmented: int, already_there: int, failed: int) -> str:
    again = (
        f", {already_there} already there (--overwrite does them again)" if already_there else ""
    )
    broken = f", {failed} failed" if failed else ""
    return f"{segmented} of {images} images segmented{again}{broken}"


def _draw_overview(path: Path, outcomes: Sequence[Outcome]) -> None:
    """A contact sheet of the first overlays."""
    from PIL import Image

    from bottomup_fast.images import read_pixels
    from bottomup_fast.overlay import picture_grid

    shown = [outcome for outcome in outcomes if outcome.error is None][:_OVERVIEW_IMAGES]
    overlays = (read_pixels(Path(outcome.output) / "overlay.png") for outcome in shown)
    pictures = [thumbnail(overlay, _OVERVIEW_SIDE) for overlay in overlays]
    if pictures:
        rows = range(0, len(pictures), _OVERVIEW_COLUMNS)
        sheet = picture_grid([pictures[start : start + _OVERVIEW_COLUMNS] for start in rows])
        with staged(path) as temporary:
            Image.fromarray(sheet).save(temporary)
