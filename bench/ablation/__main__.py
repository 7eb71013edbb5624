"""Train the variants one after the other and print the tables; what was done before is kept.

python -m ablation runs/ablation          (in bench/; needs runs/lite0.safetensors)
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bottomup_fast.evaluation import format_table

from .measure import MEASURES, measured, results, spread
from .variants import SWEEPS, TABLE_5, Variant


class Part(StrEnum):
    """Which runs are made."""

    ALL = "all"
    TABLE_5 = "table-5"
    SWEEPS = "sweeps"
    NONE = "none"


def main(
    folder: Annotated[Path, typer.Argument(help="Of the runs.")],
    backbone: Annotated[Path, typer.Option(help="ImageNet weights of the encoder.")] = Path(
        "runs/lite0.safetensors"
    ),
    steps: Annotated[int, typer.Option(help="Updates of every run.")] = 1000,
    seeds: Annotated[int, typer.Option(help="Runs of each row of Table 5; sweeps have one.")] = 3,
    part: Annotated[Part, typer.Option(help="What to train; the tables show all.")] = Part.ALL,
) -> None:
    """Table 5 of the paper at small scale, and sweeps over what the paper leaves open."""
    if part in (Part.ALL, Part.TABLE_5):
        for seed in range(seeds):
            for variant in TABLE_5:
                measured(folder, variant, seed, steps, backbone)
    if part in (Part.ALL, Part.SWEEPS):
        for variants in SWEEPS.values():
            for variant in variants:
                measured(folder, variant, 0, steps, backbone)
    console = Console()
    console.print(
        format_table(rows(folder, TABLE_5, paper=True), "Table 5 (mean ± deviation over seeds)")
    )
    for title, variants in SWEEPS.items():
        console.print(format_table(rows(folder, variants), title))


def rows(
    folder: Path, variants: tuple[Variant, ...], *, paper: bool = False
) -> list[dict[str, object]]:
    """A row for each variant with a finished run; with `paper`, its figures beside ours."""
    found: list[dict[str, object]] = []
    for variant in variants:
        if runs := results(folder, variant):
            row: dict[str, object] = {"losses": variant.title, "runs": len(runs)}
            row |= {measure: spread(runs, measure) for measure in MEASURES}
            if paper and variant.paper:
                row |= {"paper: inter": variant.paper[0], "paper: intra": variant.paper[1]}
            found.append(row)
    return found


typer.run(main)
