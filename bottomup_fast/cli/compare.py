"""`bottomup compare`: several methods on the same images, as tables and pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bottomup_fast.cli.common import (
    DeviceOption,
    JsonOption,
    print_json,
    print_table,
    progress_bar,
    thumbnail,
)
from bottomup_fast.cli.datasets import (
    PAPER_NOTE,
    FormatOption,
    LimitOption,
    ProtocolOption,
    SplitOption,
    WhereOption,
    parse_conditions,
)
from bottomup_fast.errors import InputError

if TYPE_CHECKING:
    from bottomup_fast.evaluation.comparison import Comparison
    from bottomup_fast.evaluation.protocols import Protocol
    from bottomup_fast.evaluation.tables import Rows

# The two kinds of average precision answer different questions and never share a table.
_METRICS = {
    "F1 at IoU 0.5, and AP as TP / (TP + FP + FN)": {
        "F1": "f1",
        "AP50": "ap_matching_50",
        "AP75": "ap_matching_75",
        "AP": "ap_matching",
    },
    "COCO's AP (ranked by score)": {"AP50": "ap_coco_50", "AP75": "ap_coco_75", "AP": "ap_coco"},
}
_PICTURE_SIDE = 384  # pixels
_TITLE_LENGTH = 26  # letters that fit above a picture


def compare(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="Folder of annotated images.")],
    method: Annotated[
        list[str],
        typer.Option(
            metavar="[NAME=]KIND[:ARGUMENT]",
            help="Such as bottomup:MODEL, predictions:DIR, felzenszwalb, otsu-watershed, "
            "mask2former:DIR, maskformer:DIR, oneformer:DIR, sam:DIR, cellpose or stardist, with a "
            "name for its row; repeatable.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for comparison.md, .json and .png."),
    ] = None,
    protocol: ProtocolOption = None,
    format: FormatOption = None,
    split: SplitOption = None,
    where: WhereOption = None,
    limit: LimitOption = None,
    pictures: Annotated[int, typer.Option(min=0, help="Images in the picture grid.")] = 6,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Measure methods side by side on annotated images.

    An image that a method fails on is recorded and counts as one in which it found nothing; the
    exit code is then 1.
    """
    specifications = _specifications(method)
    conditions = parse_conditions(where)

    from bottomup_fast.evaluation.comparison import compare_methods
    from bottomup_fast.evaluation.peers import open_method
    from bottomup_fast.evaluation.protocols import check_group, find_protocol, open_parts
    from bottomup_fast.evaluation.selection import Selection

    asked = find_protocol(protocol) if protocol else None
    if asked and asked.separation:
        raise InputError("--protocol: separation measures features; use `bottomup evaluate`")
    parts = open_parts(dataset, asked, format, split, conditions)
    if asked and asked.group_by:
        check_group(asked.group_by, parts)
    images = Selection(parts, limit)
    methods = {name: open_method(text, device) for name, text in specifications.items()}
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
    with progress_bar() as bar:
        comparison = compare_methods(
            methods,
            images,
            asked.group_by if asked else None,
            pictures if output is not None else 0,
            lambda positions: bar.track(positions, description="comparing"),
        )
    tables = _tables(comparison, asked)
    report = {
        "dataset": str(dataset),
        "split": split,
        "where": conditions,
        "specifications": specifications,
        "protocol": protocol,
        "tables": tables,
        **comparison.as_dict(),
    }
    if output is not None:
        _write(output, report, comparison, tables, asked)
    if as_json:
        print_json(report)
    else:
        _print(comparison, tables, asked, output)
    if comparison.failed:
        raise typer.Exit(1)


def _specifications(methods: list[str]) -> dict[str, str]:
    """Name -> KIND[:ARGUMENT] of every method."""
    named: dict[str, str] = {}
    for text in methods:
        head, colon, argument = text.partition(":")
        name, equals, kind = head.partition("=")
        key, value = (name, kind + colon + argument) if equals else (text, text)
        if not key or key in named:
            raise InputError(f"--method: {text!r} has {'no name' if not key else 'a name twice'}")
        named[key] = value
    return named


def _tables(comparison: Comparison, protocol: Protocol | None) -> dict[str, Rows]:
    from bottomup_fast.evaluation.protocols import protocol_rows

    tables: dict[str, Rows] = {}
    if protocol is not None:
        tables[protocol.table.title] = protocol_rows(protocol, comparison.evaluations)
    tables["Methods"] = comparison.quality_rows()
    for title, columns in _METRICS.items():
        tables[title] = comparison.metric_rows(columns)
    return tables


def _notes(comparison: Comparison, protocol: Protocol | None) -> list[str]:
    """What a reader of the tables has to know."""
    notes = [] if protocol is None else [PAPER_NOTE]
    notes += [f"not read: {reason}" for reason in comparison.unreadable]
    for name, result in comparison.methods.items():
        notes += [f"{name} failed on {image}: {why}" for image, why in result.failures.items()]
    return notes


def _print(
    comparison: Comparison,
    tables: dict[str, Rows],
    protocol: Protocol | None,
    output: Path | None,
) -> None:
    from bottomup_fast.evaluation import format_table

    for title, rows in tables.items():
        print_table(format_table(rows, title))
    for note in _notes(comparison, protocol):
        typer.echo(note)
    if output is not None:
        drawn = ", comparison.png" if comparison.pictures else ""
        typer.echo(f"written to {output}: comparison.md, comparison.json{drawn}")


def _write(
    folder: Path,
    report: dict[str, object],
    comparison: Comparison,
    tables: dict[str, Rows],
    protocol: Protocol | None,
) -> None:
    from PIL import Image

    from bottomup_fast.evaluation.tables import markdown_table
    from bottomup_fast.files import atomic_write
    from bottomup_fast.overlay import picture_grid

    sections = [f"## {title}\n\n{markdown_table(rows)}" for title, rows in tables.items()]
    if notes := _notes(comparison, protocol):
        sections.append("".join(f"- {note}\n" for note in notes))
    with atomic_write(folder / "comparison.md") as temporary:
        temporary.write_text("\n".join(sections), encoding="utf-8")
    with atomic_write(folder / "comparison.json") as temporary:
        temporary.write_text(json.dumps(report, indent=2, allow_nan=False), encoding="utf-8")
    if comparison.pictures:
        shown = [[thumbnail(one, _PICTURE_SIDE) for one in row] for row in comparison.pictures]
        titles = ["image", "truth", *map(_title, comparison.methods)]
        with atomic_write(folder / "comparison.png") as temporary:
            Image.fromarray(picture_grid(shown, titles)).save(temporary)


def _title(name: str) -> str:
    half = _TITLE_LENGTH // 2 - 1
    return name if len(name) <= _TITLE_LENGTH else f"{name[:half]}…{name[-half:]}"
