"""What a measure found: a table and charts, for a terminal, for a file of JSON, and from there for a document."""

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
Line = Mapping[str, Cell]
"""One row of a table, by column."""


def asked() -> str:
    """The command as its user gave it, without where its figures are kept."""
    words = iter(sys.argv[1:])
    kept = [word for word in words if not (word == "--json" and next(words, None) is not None)]
    return " ".join(["scripts/bench", *(word for word in kept if not word.startswith("--json="))])


@dataclass(frozen=True)
class Chart:
    """Horizontal bars, of several parts each if these have names; otherwise the one that is `ours` stands out."""

    name: str  # of its file
    title: str
    unit: str
    bars: Sequence[tuple[str, Sequence[float]]]
    parts: Sequence[str] = ()
    ours: str = "Esteira"


@dataclass(frozen=True)
class Finding:
    """`rows` by column; `notes` are sentences below the table; `figures` is everything, for programs."""

    measure: str
    title: str
    rows: Sequence[Line]
    charts: Sequence[Chart] = ()
    notes: Sequence[str] = ()
    figures: Any = None
    command: str = field(default_factory=asked)


def columns(rows: Sequence[Line]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def shown(value: Cell) -> str:
    """A figure to three digits or so; nothing for what there is none of."""
    if value is None:
        return ""
    if not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) else value
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


def ratio(one: float | None, other: float | None) -> float | None:
    """One over the other, if there are both."""
    return one / other if one is not None and other else None


def show(finding: Finding) -> None:
    """On the terminal."""
    heads = columns(finding.rows)
    table = Table(title=finding.title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for place, head in enumerate(heads):
        table.add_column(head, justify="right" if place else "left")
    for row in finding.rows:
        table.add_row(*(shown(row.get(head)) for head in heads))
    console.print(table)
    for note in finding.notes:
        console.print(note, highlight=False)


def machine() -> dict[str, Any]:
    """What the figures are of."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cores": os.cpu_count(),
        "memory_gb": round(memory / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def keep(finding: Finding, path: Path) -> None:
    """Puts it into the file, in the place of what the same measure has found before."""
    known = json.loads(path.read_text()) if path.exists() else {"measures": {}}
    at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    known["measures"][finding.measure] = {"at": at, "machine": machine(), **asdict(finding)}
    path.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n")


def tell_and_keep(finding: Finding, path: Path | None) -> None:
    show(finding)
    if path:
        keep(finding, path)


json_option: Callable[[Any], Any] = click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Keep the figures there, beside those of other measures.",
)
