"""`bottomup data`: looking after annotated images."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bottomup_fast.cli.common import JsonOption, print_json, progress_bar, thumbnail

if TYPE_CHECKING:
    from bottomup_fast.data.dataset import Sample
    from bottomup_fast.data.health import Health
    from bottomup_fast.overlay import Picture

_SHOWN = 12  # images of a contact sheet
_SIDE = 384  # pixels, the longer side of its pictures
_LISTED = 10  # names in a line of text

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _data() -> None:
    """Look after annotated images."""


@app.command("check")
def check(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of annotated images.")],
    format: Annotated[
        str, typer.Option(help="auto, folder, coco-panoptic, coco-instances, ade20k, ...")
    ] = "auto",
    split: Annotated[str | None, typer.Option(help="Only this part, such as train or val.")] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Contact sheet (PNG) of images and their segments."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Read all images and annotations and tell what is in them; exit code 1 if any is broken."""
    from bottomup_fast.data.formats import detect_format, open_dataset
    from bottomup_fast.data.health import check_health

    # It logs what is odd about a damaged file, which is told here in one line each.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    name = detect_format(folder) if format == "auto" else format
    dataset = open_dataset(folder, name, split=split, on_error="skip")
    shown = {index * len(dataset) // _SHOWN for index in range(_SHOWN)}
    names = {dataset.names[index] for index in shown}
    pictures: list[tuple[Picture, Picture]] = []
    with progress_bar() as bar:
        samples = bar.track(dataset, len(dataset), description="checking")
        health = check_health(dataset, _drawn(samples, names if output else set(), pictures))
    if output is not None and pictures:
        _write_sheet(output, pictures)
    if as_json:
        facts = {"folder": str(folder), "format": name, "split": split}
        print_json(facts | {"background": dataset.background} | health.as_dict())
    else:
        typer.echo(f"{folder}: {name}, 0 means {dataset.background} background")
        _print(health)
        if output is not None and pictures:
            typer.echo(f"written to {output}")
    if health.broken:
        raise typer.Exit(1)


def _drawn(
    samples: Iterable[Sample], names: set[str], pictures: list[tuple[Picture, Picture]]
) -> Iterator[Sample]:
    """Pass samples on, and keep small pictures of those with the given names."""
    from bottomup_fast.data.health import draw_sample

    for sample in samples:
        if sample.name in names:
            image, segments = (thumbnail(picture, _SIDE) for picture in draw_sample(sample))
            pictures.append((image, segments))
        yield sample


def _write_sheet(path: Path, pictures: list[tuple[Picture, Picture]]) -> None:
    """Two images a row, each with its segments beside it."""
    from PIL import Image

    from bottomup_fast.files import atomic_write
    from bottomup_fast.overlay import picture_grid

    cells = [picture for pair in pictures for picture in pair]
    rows = [cells[start : start + 4] for start in range(0, len(cells), 4)]
    with atomic_write(path) as temporary:
        Image.fromarray(picture_grid(rows)).save(temporary, format="PNG")


def _print(health: Health) -> None:
    sizes = [f"{size} ({count})" for size, count in health.sizes.items()]
    lines = {
        "images": health.images,
        "sizes": _listed(sizes),
        "segments": ", ".join(f"{name} {count:g}" for name, count in health.segments.items()),
        "tiny segments": health.tiny_segments,
        "images without segments": _listed(health.without_segments),
        "ignored": f"{health.ignored:.1%} of pixels",
        "unlabelled": f"{health.unlabelled:.1%} of pixels",
        "equal images": _listed([" = ".join(names) for names in health.duplicates]),
        "broken": len(health.broken),
    }
    for name, value in lines.items():
        typer.echo(f"{name}: {value}")
    for reason in health.broken:
        typer.echo(f"  {reason}")


def _listed(items: list[str]) -> str:
    """A few items, and how many there are in all if there are more."""
    more = f", ... ({len(items)} in all)" if len(items) > _LISTED else ""
    return (", ".join(items[:_LISTED]) or "none") + more
