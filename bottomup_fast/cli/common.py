"""What the commands share: options, and how they print."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.progress import Progress
    from rich.table import Table

ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME|FILE",
        help="A bundled model or a .safetensors file; by default everyday.",
    ),
]
DeviceOption = Annotated[
    str, typer.Option(help="auto (a GPU if there is one), cpu, cuda, cuda:1, ...")
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print JSON, and nothing else, to stdout.")
]

_UNWRAPPED = 10_000
"""Columns of a console that is not a terminal: programs and files get every row on one line."""


def print_table(table: Table) -> None:
    """Print a table to stdout, as wide as it needs to be unless on a terminal."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else _UNWRAPPED).print(table)


def thumbnail(picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Shrink a picture (H, W, 3) to a longer side of at most `side` pixels."""
    import numpy as np
    from PIL import Image

    image = Image.fromarray(picture)
    image.thumbnail((side, side))
    return np.array(image)


def print_json(value: object) -> None:
    """Print one line of JSON to stdout."""
    typer.echo(json.dumps(value, allow_nan=False))


def progress_bar() -> Progress:
    """A progress bar on stderr, so that stdout holds results only."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True))
