"""What the commands print: tables for people, JSON for programs, progress on a terminal alone."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

import rich_click as click
from click.exceptions import Exit
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Column, Table
from rich.text import Text

from pipeline.models import Record

UNWRAPPED = {"id", "status", "stage", "age", "kind"}
SURROGATE = re.compile("[\ud800-\udfff]")
PIPE_WIDTH = 10_000  # a table in a pipe is never wrapped: programs and people search it by line


def console() -> Console:
    """Where tables go: as wide as the terminal, unwrapped in a pipe."""
    return Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=PIPE_WIDTH)


def progress(unit: str) -> Progress:
    """A progress bar on stderr; silent unless that is a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn(unit))
    screen = Console(stderr=True)
    return Progress(*columns, TimeRemainingColumn(), console=screen, transient=True, disable=not screen.is_terminal)


def print_json(value: Any) -> None:
    """One line of JSON. What stands for bytes of a file's name that are not UTF-8 is escaped."""
    text = json.dumps(value, ensure_ascii=False, separators=(", ", ": "))
    click.echo(SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


def say(message: str) -> None:
    """A line for people on stderr, so that stdout stays fit for programs."""
    click.echo(message, err=True)


def examples(*lines: str) -> Text:
    """The end of a command's help: a line for each example."""
    return Text("\n  ".join(("Examples:", *lines)))


def ask(question: str, *, would: str, add: str = "--yes or --dry-run") -> None:
    """Goes on after a yes, and ends the command after anything else; `would` is what is asked about.

    Raises:
        UsageError: there is nobody to ask; `add` is what to say beforehand instead.
    """
    if not sys.stdin.isatty():
        raise click.UsageError(f"{would}, and there is no terminal to ask at: add {add}")
    click.confirm(question, abort=True, err=True)


def leave(status: int) -> NoReturn:
    """Ends the command with this exit status."""
    raise Exit(status)


def printable(value: Any) -> str:
    """Text that moves no cursor and changes no colour, whatever a sender wrote."""
    if value is None:
        return ""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in str(value))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, footer: str | None = None) -> None:
    """A table with a head; cells are shown as they are, not as markup."""
    # Nothing is cut off: an id or a key that was shortened is good for nothing.
    heads = [Column(name, overflow="fold", no_wrap=name in UNWRAPPED) for name in columns]
    table = Table(*heads, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(printable(cell)) for cell in row))
    screen = console()
    screen.print(table)
    if footer:
        screen.print(Text(footer))


def print_facts(facts: Mapping[str, Any]) -> None:
    """One thing, a fact a line; what is unknown is left out."""
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        if value not in (None, "", ()):
            click.echo(f"{name.ljust(width)}  {printable(value)}")


def moment(milliseconds: int | None) -> str:
    """A time in the reader's own zone, to the second."""
    if milliseconds is None:
        return ""
    return datetime.fromtimestamp(milliseconds / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def age(milliseconds: int) -> str:
    """How long ago it was, to the largest unit: `40s`, `3m`, `2h`, `5d`."""
    seconds = max(0, int(time.time() - milliseconds / 1000))
    for unit, length in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def record_json(record: Record) -> dict[str, Any]:
    """A row of the catalogue as JSON, every field of it."""
    return record.model_dump(mode="json")


STYLES = {"done": "green", "rejected": "yellow", "failed": "red", "expired": "magenta", "stored": "cyan"}


def status_text(status: str) -> Text:
    """A status in its colour."""
    return Text(status, style=STYLES.get(status.strip(), ""))
