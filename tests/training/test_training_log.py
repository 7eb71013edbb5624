from __future__ import annotations

import csv
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from bottomup_fast.training.logs import COLUMNS, TrainingLog


def rows(folder: Path) -> list[list[str]]:
    with (folder / "log.csv").open(newline="") as file:
        return list(csv.reader(file))


def test_numbers_go_to_csv_and_tensorboard(tmp_path: Path) -> None:
    with TrainingLog(tmp_path, 0) as log:
        log.write(20, {"total": 1.25, "norm": 1 / 3})
        log.write(20, {"f1": 0.5}, "validation")
    assert rows(tmp_path) == [
        list(COLUMNS),
        ["20", "training", "total", "1.25"],
        ["20", "training", "norm", "0.33333333"],
        ["20", "validation", "f1", "0.5"],
    ]
    events = EventAccumulator(str(tmp_path / "events")).Reload()
    assert [(e.step, e.value) for e in events.Scalars("training/total")] == [(20, 1.25)]
    assert events.Scalars("validation/f1")[0].value == 0.5


def test_rows_are_readable_before_the_run_ends(tmp_path: Path) -> None:
    with TrainingLog(tmp_path, 0) as log:
        log.write(1, {"total": 2})
        assert len(rows(tmp_path)) == 2


def test_reopening_drops_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    with TrainingLog(tmp_path, 0) as log:
        for step in (20, 40, 60):
            log.write(step, {"total": step})
    with (tmp_path / "log.csv").open("a") as file:
        file.write("80,training,to")
    with TrainingLog(tmp_path, 40) as log:
        log.write(60, {"total": -60})
    assert [(row[0], row[3]) for row in rows(tmp_path)[1:]] == [
        ("20", "20"),
        ("40", "40"),
        ("60", "-60"),
    ]
    events = EventAccumulator(str(tmp_path / "events")).Reload().Scalars("training/total")
    assert [(event.step, event.value) for event in events] == [(20, 20), (40, 40), (60, -60)]
