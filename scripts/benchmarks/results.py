"""The result of a measure: a table and charts, shown on the terminal and saved as JSON for scripts/bench report."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import rich_click as click
from rich import box
from rich.table import Table

from scripts.benchmarks.environment import console

Cell = str | float | int | None
TableRow = Mapping[str, Cell]
"""One row of a table, by column."""


def command_line() -> str:
    """The command line, without the option --json."""
    words = iter(sys.argv[1:])
    words_kept = [word for word in words if not (word == "--json" and next(words, None) is not None)]
    return " ".join(["scripts/bench", *(word for word in words_kept if not word.startswith("--json="))])


@dataclass(frozen=True)
class Chart:
    """Horizontal bars. With `parts`, each bar has several named parts; otherwise the bar `ours` is highlighted."""

    name: str  # part of the file name
    title: str
    unit: str
    bars: Sequence[tuple[str, Sequence[float]]]
    parts: Sequence[str] = ()
    ours: str = "Esteira"


@dataclass(frozen=True)
class BenchmarkResult:
    """`rows` by column, `notes` (sentences below the table), and `figures` (all raw values, for programs)."""

    measure: str
    title: str
    rows: Sequence[TableRow]
    charts: Sequence[Chart] = ()
    notes: Sequence[str] = ()
    figures: Any = None
    command: str = field(default_factory=command_line)


def columns(rows: Sequence[TableRow]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def format_figure(value: Cell) -> str:
    """Formats a figure with about three digits; None becomes an empty text."""
    if value is None:
        return ""
    if not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) else value
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


def ratio(numerator: float | None, denominator: float | None) -> float | None:
    """The quotient, or None without either value or with a denominator of 0."""
    return numerator / denominator if numerator is not None and denominator else None


def show(result: BenchmarkResult) -> None:
    """Prints the table and the notes."""
    heads = columns(result.rows)
    table = Table(title=result.title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for index, head in enumerate(heads):
        table.add_column(head, justify="right" if index else "left")
    for row in result.rows:
        table.add_row(*(format_figure(row.get(head)) for head in heads))
    console.print(table)
    for note in result.notes:
        console.print(note, highlight=False)


def machine_info() -> dict[str, Any]:
    """Describes this machine."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cores": os.cpu_count(),
        "memory_gb": round(memory / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def save(result: BenchmarkResult, path: Path) -> None:
    """Saves a result to the file. Replaces the previous result of the same measure."""
    known = json.loads(path.read_text()) if path.exists() else {"measures": {}}
    time = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    known["measures"][result.measure] = {"at": time, "machine": machine_info(), **asdict(result)}
    path.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n")


def show_and_save(result: BenchmarkResult, path: Path | None) -> None:
    show(result)
    if path:
        save(result, path)


json_option: Callable[[Any], Any] = click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Save the figures to this file, in addition to those of other measures.",
)
