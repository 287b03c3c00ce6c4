"""For tests of bench/: the command with little to do, and what it printed."""

from __future__ import annotations

import json
import math
import re


def tables_in(markdown: str) -> list[list[dict[str, str]]]:
    """Every Markdown table of a text, a dictionary for each row."""
    tables = []
    for block in re.findall(r"(?:^\|.*\|$\n?)+", markdown, re.MULTILINE):
        header, rule, *rows = ([cell.strip() for cell in line[1:-1].split("|")] for line in block.splitlines())
        assert len(rule) == len(header)
        assert all(re.fullmatch(r"---:?", cell) for cell in rule)
        assert all(len(row) == len(header) for row in rows)
        for row in rows:
            numbers = (cell for cell, mark in zip(row, rule, strict=True) if mark.endswith(":"))
            assert all(math.isfinite(float(cell.replace(",", ""))) for cell in numbers)
        tables.append([dict(zip(header, row, strict=True)) for row in rows])
    return tables


def run(bench, capsys, tmp_path, *arguments: str) -> tuple[int, list[list[dict]], str]:
    """Exit code, rows of each table as --json has them, and what was printed."""
    path = tmp_path / "numbers.json"
    code = bench.main([*arguments, "--json", str(path)])
    printed = capsys.readouterr().out
    tables = [table["rows"] for table in json.loads(path.read_text())["tables"]]
    numbers = [cell for rows in tables for row in rows for cell in row.values() if not isinstance(cell, str)]
    assert numbers
    assert all(map(math.isfinite, numbers))
    assert [len(rows) for rows in tables_in(printed)] == [len(rows) for rows in tables]
    return code, tables, printed
