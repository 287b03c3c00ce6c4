"""Tables of results: Markdown for people, records for programs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Cell = str | int | float


@dataclass
class Table:
    """Rows under named columns, notes below, and what went wrong, if something did."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[Cell, ...]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    facts: dict[str, Cell] = field(default_factory=dict)  # for programs: what the notes say in words

    def add(self, *cells: Cell) -> None:
        """Append a row."""
        if len(cells) != len(self.columns):
            raise ValueError(f"{self.title}: got {len(cells)} cells, expected {len(self.columns)}")
        self.rows.append(cells)

    def markdown(self) -> str:
        """The table as GitHub's Markdown, columns of numbers aligned right."""
        numeric = [all(not isinstance(row[i], str) for row in self.rows) for i in range(len(self.columns))]
        rule = ("---:" if right else "---" for right in numeric)
        lines = [self.columns, tuple(rule), *(tuple(map(show, row)) for row in self.rows)]
        body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        remarks = [*self.notes, *(f"**Failed:** {failure}" for failure in self.failures)]
        return "\n\n".join([f"### {self.title}", body, *remarks])

    def record(self) -> dict[str, Any]:
        """The same as plain values, numbers unrounded."""
        rows = [dict(zip(self.columns, row, strict=True)) for row in self.rows]
        remarks = {"notes": self.notes, "failures": self.failures, "facts": self.facts}
        return {"title": self.title, "rows": rows, **remarks}


def show(cell: Cell) -> str:
    """Three digits that mean something."""
    if not isinstance(cell, float):
        return f"{cell:,}" if isinstance(cell, int) else cell
    if cell == 0:
        return "0"
    if abs(cell) >= 100:
        return f"{cell:,.0f}"
    return f"{cell:.3g}" if abs(cell) >= 0.01 else f"{cell:.2e}"


def percent(share: float) -> str:
    """0.873 -> '87%'."""
    return f"{100 * share:.0f}%"
