from __future__ import annotations

import io

from rich.console import Console

from bottomup_fast.evaluation import format_table
from bottomup_fast.evaluation.tables import markdown_table

ROWS = [
    {"method": "a|b", "recall": 0.25, "relative %": 31.4, "inter-mean deg.": 88.64},
    {"method": "c", "recall": None, "relative %": 0, "images": 7},
]


def test_markdown():
    assert markdown_table(ROWS).splitlines() == [
        "| method | recall | relative % | inter-mean deg. | images |",
        "| --- | --- | --- | --- | --- |",
        "| a\\|b | 0.250 | 31 | 88.6 | - |",
        "| c | - | 0 | - | 7 |",
    ]


def test_the_terminal_shows_the_same_cells():
    console = Console(file=io.StringIO(), width=200)
    console.print(format_table(ROWS, "title"))
    text = console.file.getvalue()
    for cell in ("0.250", " 31 ", "88.6", " 7 "):
        assert cell in text
