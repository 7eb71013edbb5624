"""`bottomup segment`: an image or a folder of images to label maps, records and overlays."""

from __future__ import annotations

import csv
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bottomup_fast.cli.common import (
    DeviceOption,
    JsonOption,
    ModelOption,
    print_json,
    progress_bar,
    thumbnail,
)
from bottomup_fast.errors import InputError

if TYPE_CHECKING:
    from bottomup_fast.segmenter import Segmenter

_SUMMARY = ("image", "segments", "seconds", "error")
_OVERVIEW_IMAGES = 24
_OVERVIEW_COLUMNS = 6
_OVERVIEW_SIDE = 320  # pixels


@dataclass(frozen=True)
class Outcome:
    """What became of one image; `seconds` is None where an earlier run segmented it."""

    image: str
    output: str
    segments: int | None = None
    seconds: float | None = None
    error: str | None = None


def segment(
    source: Annotated[
        Path, typer.Argument(metavar="IMAGE|DIR", help="An image, or a folder of images.")
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
    as_json: JsonOption = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Of DIR: segment again what is already there.")
    ] = False,
) -> None:
    """Segment an image or a folder of images.

    Images of a folder that are there from an earlier run are skipped.
    """
    if not source.exists():
        raise InputError(f"{source}: no such file or folder")
    of_folder = source.is_dir()
    target = output or Path("segments") / ("" if of_folder else source.stem)
    if target.resolve() == (source if of_folder else source.parent).resolve():
        raise InputError(f"--output: {target} is the folder of the images; choose another")
    sides = None if resolutions is None else _sides(resolutions)

    from bottomup_fast.images import list_images
    from bottomup_fast.models.weights import DEFAULT_MODEL
    from bottomup_fast.segmenter import Segmenter

    images = list_images(source) if of_folder else [source]
    if not images:
        raise InputError(f"{source}: no images in it")
    segmenter = Segmenter(
        model or DEFAULT_MODEL, device, sides, scale=scale, keep_background=keep_background
    )
    target.mkdir(parents=True, exist_ok=True)
    if of_folder:
        _segment_folder(segmenter, images, target, overwrite, as_json)
        return
    outcome = _segment_image(segmenter, source, target)
    if as_json:
        print_json(asdict(outcome))
    else:
        typer.echo(f"{outcome.segments} segments in {outcome.seconds:.2f} s, written to {target}")


def _sides(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(side) for side in text.split(","))
    except ValueError:
        raise InputError(f"--resolutions: expected pixels such as 256,512, got {text!r}") from None


def _segment_image(segmenter: Segmenter, image: Path, folder: Path) -> Outcome:
    start = time.perf_counter()
    found = segmenter.segment(image)
    seconds = time.perf_counter() - start
    found.save(folder)
    return Outcome(str(image), str(folder), len(found), round(seconds, 4))


def _segment_folder(
    segmenter: Segmenter, images: Sequence[Path], target: Path, overwrite: bool, as_json: bool
) -> None:
    """Segment what is not there yet; exits with 1 if an image failed."""
    outcomes: list[Outcome] = []
    try:
        with progress_bar() as bar:
            for image, name in bar.track(
                list(zip(images, _folder_names(images), strict=True)), description="segmenting"
            ):
                folder = target / name
                outcome = None if overwrite else _earlier_outcome(image, folder)
                if outcome is None:
                    try:
                        outcome = _segment_image(segmenter, image, folder)
                    except InputError as error:
                        outcome = Outcome(str(image), str(folder), error=str(error))
                        typer.echo(f"error: {error}", err=True)
                outcomes.append(outcome)
                if as_json:
                    print_json(asdict(outcome))
    finally:
        _write_summary(target / "summary.csv", outcomes)
    _draw_overview(target / "overview.png", outcomes)
    failed = sum(outcome.error is not None for outcome in outcomes)
    if not as_json:
        new = sum(outcome.seconds is not None for outcome in outcomes)
        there = len(outcomes) - new - failed
        again = f", {there} already there (--overwrite does them again)" if there else ""
        broken = f", {failed} failed" if failed else ""
        typer.echo(f"{new} of {len(outcomes)} images segmented{again}{broken}; written to {target}")
    if failed:
        raise typer.Exit(1)


def _folder_names(images: Sequence[Path]) -> list[str]:
    """The stem of each image, or its whole name where stems are not unique."""
    count = Counter(image.stem for image in images)
    return [image.name if count[image.stem] > 1 else image.stem for image in images]


def _earlier_outcome(image: Path, folder: Path) -> Outcome | None:
    """The outcome of an earlier run if all its files are there and whole."""
    from bottomup_fast.segmentation import Segmentation

    if not (folder / "overlay.png").is_file():  # the last to be written
        return None
    try:
        return Outcome(str(image), str(folder), len(Segmentation.load(folder)))
    except InputError:
        return None


def _write_summary(path: Path, outcomes: Sequence[Outcome]) -> None:
    from bottomup_fast.files import atomic_write

    with atomic_write(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, _SUMMARY, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(
            asdict(outcome) | {"image": Path(outcome.image).name} for outcome in outcomes
        )


def _draw_overview(path: Path, outcomes: Sequence[Outcome]) -> None:
    """A contact sheet of the first overlays."""
    from PIL import Image

    from bottomup_fast.files import atomic_write
    from bottomup_fast.images import read_pixels
    from bottomup_fast.overlay import picture_grid

    pictures = []
    for outcome in [o for o in outcomes if o.error is None][:_OVERVIEW_IMAGES]:
        overlay = read_pixels(Path(outcome.output) / "overlay.png")
        pictures.append(thumbnail(overlay, _OVERVIEW_SIDE))
    if pictures:
        rows = range(0, len(pictures), _OVERVIEW_COLUMNS)
        sheet = picture_grid([pictures[start : start + _OVERVIEW_COLUMNS] for start in rows])
        with atomic_write(path) as temporary:
            Image.fromarray(sheet).save(temporary)
