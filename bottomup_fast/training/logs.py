"""CSV and TensorBoard logs of a training run."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from torch.utils.tensorboard import SummaryWriter

from bottomup_fast.files import atomic_write

COLUMNS = ("step", "kind", "name", "value")


class TrainingLog:
    """Appends rows (step, kind, name, value) to `log.csv`, and the same to TensorBoard.

    Rows after `first_step`, written by a run that was killed after its last checkpoint, are dropped
    when the log is opened, since the resumed run writes them again.
    """

    def __init__(self, folder: Path, first_step: int) -> None:
        self.path = folder / "log.csv"
        kept: list[list[str]] = []
        if self.path.is_file():
            with self.path.open(newline="") as file:
                rows = [row for row in csv.reader(file) if len(row) == len(COLUMNS)][1:]
            kept = [row for row in rows if int(row[0]) <= first_step]
        with atomic_write(self.path) as temporary, temporary.open("w", newline="") as file:
            csv.writer(file).writerows([COLUMNS, *kept])
        self.file = self.path.open("a", newline="")
        self.writer = csv.writer(self.file)
        self.events = SummaryWriter(folder / "events", purge_step=first_step + 1)

    def write(self, step: int, values: Mapping[str, float], kind: str = "training") -> None:
        """Record numbers of one step."""
        for name, value in values.items():
            self.writer.writerow([step, kind, name, f"{value:.8g}"])
            self.events.add_scalar(f"{kind}/{name}", value, step)
        self.file.flush()

    def __enter__(self) -> TrainingLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.file.close()
        self.events.close()
