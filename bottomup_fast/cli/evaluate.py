"""`bottomup evaluate`: how well a model segments a data set."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bottomup_fast.cli.common import (
    DeviceOption,
    JsonOption,
    ModelOption,
    print_json,
    print_table,
    progress_bar,
    thumbnail,
)
from bottomup_fast.cli.datasets import (
    FormatOption,
    LimitOption,
    ProtocolOption,
    SplitOption,
    WhereOption,
    parse_conditions,
    print_protocol,
)
from bottomup_fast.errors import InputError

if TYPE_CHECKING:
    from bottomup_fast.evaluation.results import DatasetEvaluation, Example, Measures

# The two kinds of average precision answer different questions and never share a table.
_TABLES = {
    "F1 at IoU 0.5, and AP as TP / (TP + FP + FN)": (
        "images",
        "segments",
        "f1",
        "ap_matching_50",
        "ap_matching_75",
        "ap_matching",
    ),
    "COCO's AP (ranked by score), recall, mIoU, boundary IoU": (
        "ap_coco_50",
        "ap_coco_75",
        "ap_coco",
        "recall",
        "miou",
        "boundary_iou",
    ),
}
_SEPARATION = "Similarity of features between and within entities (mean over images)"
_EXAMPLE_SIDE = 512  # pixels
_EXAMPLES = ("image", "truth", "found")


def evaluate(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="Folder of annotated images.")],
    model: ModelOption = None,
    protocol: ProtocolOption = None,
    format: FormatOption = None,
    split: SplitOption = None,
    where: WhereOption = None,
    group_by: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column of meta.tsv to group by.")
    ] = None,
    limit: LimitOption = None,
    features_constant: Annotated[
        bool,
        typer.Option(
            "--features-constant",
            help="For comparison: foreground and connected pieces alone, without the features.",
        ),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for report.json, worst.png and best.png."),
    ] = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Measure a model on annotated images.

    Over all of them, by group, and over those in which annotated objects touch; or as a table of
    the paper, with the figures that it prints.
    """
    conditions = parse_conditions(where)

    from bottomup_fast.evaluation.dataset import ConstantFeatures, evaluate_dataset
    from bottomup_fast.evaluation.protocols import (
        check_group,
        find_protocol,
        open_parts,
        protocol_rows,
    )
    from bottomup_fast.evaluation.selection import Selection
    from bottomup_fast.models.weights import DEFAULT_MODEL, load_model
    from bottomup_fast.segmenter import Segmenter

    asked = find_protocol(protocol) if protocol else None
    if asked and asked.separation and features_constant:
        raise InputError("--features-constant: leaves no features for --protocol separation")
    if asked and asked.group_by and group_by:
        raise InputError(f"--group-by: --protocol {protocol} has its own groups")
    group = asked.group_by if asked and asked.group_by else group_by
    parts = open_parts(dataset, asked, format, split, conditions)
    if group:
        check_group(group, parts)
    images = Selection(parts, limit)
    name = model or DEFAULT_MODEL
    network = load_model(name)
    segmenter = Segmenter(ConstantFeatures(network) if features_constant else network, device)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
    with progress_bar() as bar:
        positions = bar.track(range(len(images)), description="evaluating")
        result = evaluate_dataset(
            segmenter,
            map(images.read, positions),
            group,
            separation=asked.separation if asked else not features_constant,
        )
    rows = protocol_rows(asked, {str(name): result}) if asked else []
    report = {
        "dataset": str(dataset),
        "split": split,
        "where": conditions,
        "model": str(name),
        "features_constant": features_constant,
        "settings": segmenter.settings.model_dump(mode="json"),
        **({"protocol": {"name": protocol, "rows": rows}} if asked else {}),
        **result.as_dict(),
    }
    if output is not None:
        _write(output, report, result)
    if as_json:
        print_json(report)
        return
    measures = result.measures()
    if asked:
        print_protocol(asked, rows)
    else:
        _print_tables(measures)
    typer.echo(f"{measures['all'].seconds_per_image:.3f} s per image")
    if output is not None:
        typer.echo(f"written to {output}: report.json, worst.png, best.png")


def _print_tables(measures: dict[str, Measures]) -> None:
    from bottomup_fast.evaluation import format_table

    for title, columns in _TABLES.items():
        rows: list[dict[str, object]] = [
            {"group": group} | {_heading(column): found.metrics[column] for column in columns}
            for group, found in measures.items()
        ]
        print_table(format_table(rows, title))
    separations = [
        {"group": group, **found.separation}
        for group, found in measures.items()
        if found.separation is not None
    ]
    if separations:
        print_table(format_table(separations, _SEPARATION))


def _heading(column: str) -> str:
    return column.replace("_matching", "").replace("_coco", "")


def _write(folder: Path, report: dict[str, object], result: DatasetEvaluation) -> None:
    from bottomup_fast.files import atomic_write

    with atomic_write(folder / "report.json") as temporary:
        temporary.write_text(json.dumps(report, indent=2, allow_nan=False))
    _draw(folder / "worst.png", result.worst)
    _draw(folder / "best.png", result.best)


def _draw(path: Path, examples: Sequence[Example]) -> None:
    """One row an image: the image, its annotation, what was found."""
    import numpy as np
    from PIL import Image

    from bottomup_fast.files import atomic_write
    from bottomup_fast.overlay import draw_overlay, picture_grid

    rows = []
    for example in examples:
        image, truth = example.sample.image, np.maximum(example.sample.labels, 0)
        nothing = np.zeros_like(truth)
        drawn = [draw_overlay(image, labels) for labels in (nothing, truth, example.found)]
        rows.append([thumbnail(picture, _EXAMPLE_SIDE) for picture in drawn])
    with atomic_write(path) as temporary:
        Image.fromarray(picture_grid(rows, _EXAMPLES)).save(temporary)
