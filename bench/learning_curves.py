"""The loss of training runs over their steps, as a picture; needs the extra `bench`.

python bench/learning_curves.py docs/pictures/learning.png runs/cells runs/everyday
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated

import matplotlib.pyplot as plt
import numpy as np
import typer

WINDOW = 10
"""Logged values that a point of a curve averages; single batches differ too much to be seen."""


def curve(run: Path, term: str) -> tuple[list[int], list[float]]:
    """Steps and values of one term of a run's `log.csv`, averaged over `WINDOW` of them."""
    with (run / "log.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["name"] == term]
    last = {int(row["step"]): float(row["value"]) for row in rows if row["kind"] == "training"}
    whole = len(last) // WINDOW * WINDOW
    blocks = np.array(sorted(last.items())[:whole]).reshape(-1, WINDOW, 2).mean(axis=1)
    return blocks[:, 0].tolist(), blocks[:, 1].tolist()


def main(
    output: Annotated[Path, typer.Argument(help="The picture to write.")],
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs, one panel each.")],
    terms: Annotated[list[str], typer.Option("--term")] = ["attraction", "repulsion"],  # noqa: B006
) -> None:
    """Draw the terms of each run's loss."""
    figure, panels = plt.subplots(1, len(runs), figsize=(4 * len(runs), 3), squeeze=False)
    for panel, run in zip(panels[0], runs, strict=True):
        for term in terms:
            panel.plot(*curve(run, term), label=term)
        panel.set(title=run.name, xlabel="step", ylim=(0, None))
        panel.legend()
    figure.tight_layout()
    figure.savefig(output, dpi=100)


if __name__ == "__main__":
    typer.run(main)
