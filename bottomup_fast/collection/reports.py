"""What a run over a collection leaves beside its results: summary and failures."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from bottomup_fast.collection.items import Item
from bottomup_fast.collection.output import LOCK, RUN, UNFINISHED, staged
from bottomup_fast.collection.worker import Outcome

SUMMARY = "summary.csv"
FAILURES = "failures.jsonl"
OVERVIEW = "overview.png"
RESERVED = (RUN, LOCK, UNFINISHED, SUMMARY, FAILURES, OVERVIEW)
"""Names in the folder of a collection that are no image's."""
_COLUMNS = ("image", "folder", "segments", "seconds", "error")


class Reports:
    """Collects outcomes in the order they come, and reports them in the order of the images.

    Failures are written at once, so that those of a killed run are known too.
    """

    def __init__(self, folder: Path, items: Sequence[Item]) -> None:
        self.folder = folder
        self._items = items
        self._outcomes: dict[str, Outcome] = {}
        (folder / FAILURES).unlink(missing_ok=True)

    def add(self, outcome: Outcome) -> None:
        """Take note of an outcome."""
        self._outcomes[outcome.image] = outcome
        if outcome.error is not None:
            with (self.folder / FAILURES).open("a", encoding="utf-8") as file:
                file.write(json.dumps({"image": outcome.image, "error": outcome.error}) + "\n")

    def counts(self) -> dict[str, int]:
        """How many images there are, were segmented now, were there already, and failed."""
        outcomes = self._outcomes.values()
        failed = sum(outcome.error is not None for outcome in outcomes)
        segmented = sum(outcome.seconds is not None for outcome in outcomes)
        there = len(outcomes) - segmented - failed
        return {
            "images": len(self._items),
            "segmented": segmented,
            "already_there": there,
            "failed": failed,
        }

    def outcomes(self) -> list[Outcome]:
        """The outcomes so far, in the order of the images."""
        paths = (str(item.path) for item in self._items)
        return [self._outcomes[path] for path in paths if path in self._outcomes]

    def write_summary(self) -> None:
        """Write a CSV file with a line for each outcome."""
        with (
            staged(self.folder / SUMMARY) as temporary,
            temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
        ):
            writer = csv.DictWriter(file, _COLUMNS, extrasaction="ignore")
            writer.writeheader()
            for item in self._items:
                outcome = self._outcomes.get(str(item.path))
                if outcome is not None:
                    names = {"image": item.name, "folder": item.folder}
                    writer.writerow(asdict(outcome) | names)
