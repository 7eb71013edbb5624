"""The paper's evaluations: which images each takes, and its table with the published figures."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from bottomup_fast.data.dataset import AnnotatedImages
from bottomup_fast.data.folder import is_folder
from bottomup_fast.data.formats import open_dataset
from bottomup_fast.errors import InputError
from bottomup_fast.evaluation import paper
from bottomup_fast.evaluation.results import DatasetEvaluation, Measures
from bottomup_fast.evaluation.selection import Part, first_by_number, most_objects
from bottomup_fast.evaluation.separation import pool

Row: TypeAlias = dict[str, object]


@dataclass(frozen=True)
class Protocol:
    """One evaluation of the paper.

    Attributes:
        table: with the published figures.
        format: of the data set, see `open_dataset`.
        splits: of it in that format; several are the groups of the table.
        choose: positions of the images it takes; None for all.
        group_by: column of the metadata with the groups of the table.
        separation: whether features are measured rather than segments.
    """

    table: paper.PaperTable
    format: str
    splits: tuple[str | None, ...] = (None,)
    choose: Callable[[AnnotatedImages], list[int]] | None = None
    group_by: str | None = None
    separation: bool = False


PROTOCOLS: Mapping[str, Protocol] = {
    "ade20k": Protocol(paper.ADE20K, "ade20k", ("val",)),
    "entityseg": Protocol(paper.ENTITYSEG, "entityseg", ("val",)),
    "sa1b": Protocol(paper.SA1B, "sa-1b", choose=first_by_number),
    "sa1b-dense": Protocol(paper.SA1B_DENSE, "sa-1b", choose=most_objects),
    "evican": Protocol(paper.EVICAN, "evican", paper.DIFFICULTIES, group_by="difficulty"),
    "separation": Protocol(paper.ABLATION, "auto", separation=True),
}


def find_protocol(name: str) -> Protocol:
    """The protocol of a name; raises InputError for an unknown one."""
    if name not in PROTOCOLS:
        raise InputError(f"--protocol: unknown {name!r}; expected {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def open_parts(
    root: str | os.PathLike[str],
    protocol: Protocol | None = None,
    format: str | None = None,
    split: str | None = None,
    where: Mapping[str, str] | None = None,
) -> list[Part]:
    """Open the images of a protocol, or of a data set without one.

    Args:
        root: the folder.
        protocol: None for all images of the data set.
        format: see `open_dataset`; None for the protocol's, or a folder of images and label maps if
            it looks like one, or else whichever it looks like.
        split: instead of the protocol's.
        where: columns of the metadata that must have these values.

    Raises:
        InputError: as `open_dataset` does.
    """
    usual = protocol.format if protocol else "auto"
    if usual == "auto" and is_folder(Path(root)):
        usual = "folder"
    splits: tuple[str | None, ...] = (split,)
    if protocol and split is None and format in (None, protocol.format):
        splits = protocol.splits
    parts = []
    for part in splits:
        images = open_dataset(root, format or usual, split=part, where=where)
        choose = protocol.choose if protocol else None
        chosen = choose(images) if choose else range(len(images))
        group = None
        if protocol and protocol.group_by and part in protocol.splits and part:
            group = (protocol.group_by, part)
        parts.append(Part(images, chosen, group))
    return parts


def check_group(column: str, parts: Sequence[Part]) -> None:
    """Raise InputError unless some image has a column of the metadata."""
    rows = [row for part in parts for row in part.images.metadata.values()]
    groups = [part.group[0] for part in parts if part.group]
    if column not in groups and not any(column in row for row in rows):
        raise InputError(f"--group-by: no column {column!r} in {parts[0].images.root / 'meta.tsv'}")


def protocol_rows(protocol: Protocol, measured: Mapping[str, DatasetEvaluation]) -> list[Row]:
    """The protocol's table: the methods measured here, then the paper's rows, marked as such.

    "relative %" of a measured method is against the weakest published recall of the table, as the
    paper's own column is, or against the weakest measured one where that is lost.

    Raises:
        InputError: the images lack the groups of the table.
    """
    rows: list[Row] = []
    for name, evaluation in measured.items():
        counted = {"images": len(evaluation.images)}
        for row in _measured_rows(protocol, name, evaluation):
            rows.append({"source": "measured here"} | row | counted)
    if protocol.table.columns == paper.QUALITY:
        fill_relative(rows, protocol.table.weakest_recall())
    source = f"paper, {protocol.table.title}"
    return rows + [{"source": source} | row for row in protocol.table.rows()]


def quality_row(measures: Measures) -> Row:
    """The columns of Tables 1 to 3; `fill_relative` fills the last."""
    metrics = measures.metrics
    figures = (metrics["miou"], metrics["boundary_iou"], metrics["recall"], None)
    return dict(zip(paper.QUALITY, figures, strict=True))


def fill_relative(rows: Sequence[Row], base: float | None = None) -> None:
    """Fill "relative %": how far each row's recall lies above `base`, or the weakest of the rows.

    It stays None for a row without recall, and for all if the base is 0.
    """
    recalls = [row["recall"] for row in rows if isinstance(row["recall"], float)]
    weakest = min(recalls, default=0.0) if base is None else base
    for row in rows:
        recall = row["recall"]
        if isinstance(recall, float) and weakest > 0:
            row["relative %"] = 100 * (recall / weakest - 1)


def _measured_rows(protocol: Protocol, name: str, evaluation: DatasetEvaluation) -> Iterator[Row]:
    if protocol.separation:
        yield from _separation_rows(name, evaluation)
        return
    measures = evaluation.measures()
    if protocol.table.columns == paper.PRECISION:
        yield {"method": name} | _precision(measures)
    else:
        yield {"method": name} | quality_row(measures["all"])


def _precision(measures: Mapping[str, Measures]) -> Row:
    row: Row = dict.fromkeys(paper.PRECISION)
    for difficulty in paper.DIFFICULTIES:
        if difficulty in measures:
            metrics = measures[difficulty].metrics
            row[f"{difficulty} AP50"] = metrics["ap_coco_50"]
            row[f"{difficulty} AP75"] = metrics["ap_coco_75"]
            row[f"{difficulty} AP"] = metrics["ap_coco"]
    if not any(difficulty in measures for difficulty in paper.DIFFICULTIES):
        raise InputError("--protocol: no image is of difficulty " + ", ".join(paper.DIFFICULTIES))
    return row


def _separation_rows(name: str, evaluation: DatasetEvaluation) -> Iterator[Row]:
    """Over the pairs and entities of all images, and as the mean over images."""
    parts = [image.separation for image in evaluation.images if image.separation is not None]
    mean = evaluation.measures()["all"].separation
    for method, found in (
        (name, pool(parts).as_dict()),
        (f"{name}, mean over images", mean or {}),
    ):
        figures = ("inter_mean", "inter_degrees", "intra_entity", "intra_degrees")
        values = (found.get(figure) for figure in figures)
        yield {"method": method} | dict(zip(paper.SEPARATION, values, strict=True))
