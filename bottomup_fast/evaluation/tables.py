"""Rows of figures as a table for the terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table
from rich.text import Text

Rows = Sequence[Mapping[str, object]]


def format_table(rows: Rows, title: str) -> Table:
    """A table with a column for each key of the rows, in the order in which keys first appear.

    Numbers stand to the right, floats with three decimals (percentages with none, degrees with
    one); None and absent keys show as a dash.
    """
    table = Table(title=Text(title))
    for key in _columns(rows):
        numeric = all(isinstance(row.get(key), int | float | None) for row in rows)
        table.add_column(Text(key), justify="right" if numeric else "left")
    for row in rows:
        table.add_row(*(Text(_cell(key, row.get(key))) for key in _columns(rows)))
    return table


def markdown_table(rows: Rows) -> str:
    """The same table in GitHub's Markdown, without a title."""
    columns = _columns(rows)
    lines = [columns, ["---"] * len(columns)]
    lines += [[_cell(key, row.get(key)) for key in columns] for row in rows]
    escaped = (" | ".join(cell.replace("|", "\\|") for cell in line) for line in lines)
    return "".join(f"| {line} |\n" for line in escaped)


def _columns(rows: Rows) -> list[str]:
    return list(dict.fromkeys(key for row in rows for key in row))


def _cell(column: str, value: object) -> str:
    if value is None:
        return "-"
    if not isinstance(value, float):
        return str(value)
    decimals = 0 if column.endswith("%") else 1 if column.endswith("deg.") else 3
    return f"{value:.{decimals}f}"
