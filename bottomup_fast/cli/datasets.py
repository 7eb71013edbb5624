"""What the commands that measure share: which images, and the tables of the paper."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from bottomup_fast.cli.common import print_table
from bottomup_fast.errors import InputError

if TYPE_CHECKING:
    from bottomup_fast.evaluation.protocols import Protocol, Row

ProtocolOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="An evaluation of the paper, with its images and its table: ade20k, entityseg, sa1b, "
        "sa1b-dense, evican or separation.",
    ),
]
FormatOption = Annotated[
    str | None,
    typer.Option(help="Of the data set, such as coco-panoptic; by default told by its files."),
]
SplitOption = Annotated[str | None, typer.Option(help="Only this part, such as val.")]
WhereOption = Annotated[
    list[str] | None,
    typer.Option(metavar="COLUMN=VALUE", help="Only these images of meta.tsv; repeatable."),
]
LimitOption = Annotated[
    int | None, typer.Option(min=1, help="At most so many images, evenly spaced.")
]

PAPER_NOTE = (
    "Rows of the paper are its published figures, of its own models on the whole data set; none "
    "was measured here. A dash stands for a figure that is not known. Each % is against the lowest "
    "recall of the paper's rows, or of those measured here where the paper's are not known."
)


def parse_conditions(where: Iterable[str] | None) -> dict[str, str]:
    """Texts COLUMN=VALUE as a mapping; raises InputError for others."""
    conditions = {}
    for text in where or ():
        column, equals, value = text.partition("=")
        if not column or not equals:
            raise InputError(f"--where: expected COLUMN=VALUE, got {text!r}")
        conditions[column] = value
    return conditions


def print_protocol(protocol: Protocol, rows: Sequence[Row]) -> None:
    """Print the table of a protocol, and what its rows are."""
    from bottomup_fast.evaluation import format_table

    print_table(format_table(rows, protocol.table.title))
    typer.echo(PAPER_NOTE)
