"""Output of the commands: tables for people, JSON for programs, progress bars on a terminal only."""

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
PIPE_WIDTH = 10_000  # characters; a table in a pipe is never wrapped, because programs and people search it by line


def console() -> Console:
    """A console on stdout: as wide as the terminal, unwrapped in a pipe."""
    return Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=PIPE_WIDTH)


def progress_bar(unit: str) -> Progress:
    """A progress bar on stderr; silent if stderr is not a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn(unit))
    screen = Console(stderr=True)
    return Progress(*columns, TimeRemainingColumn(), console=screen, transient=True, disable=not screen.is_terminal)


def print_json(value: Any) -> None:
    """Prints one line of JSON. Bytes of a file name that are not UTF-8 are escaped."""
    text = json.dumps(value, ensure_ascii=False, separators=(", ", ": "))
    click.echo(SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text))


def print_message(message: str) -> None:
    """Prints a line for people on stderr; stdout is for programs."""
    click.echo(message, err=True)


def examples(*lines: str) -> Text:
    """The epilog of a command's help: one example per line."""
    return Text("\n  ".join(("Examples:", *lines)))


def confirm(question: str, *, consequence: str, options: str = "--yes or --dry-run") -> None:
    """Continues after a yes and ends the command after any other answer.

    Raises:
        UsageError: stdin is not a terminal; the message has the `consequence` and the `options` to add instead.
    """
    if not sys.stdin.isatty():
        raise click.UsageError(f"{consequence}, and there is no terminal to confirm it: add {options}")
    click.confirm(question, abort=True, err=True)


def exit_with(status: int) -> NoReturn:
    """Ends the command with this exit status."""
    raise Exit(status)


def printable(value: Any) -> str:
    """The value as text without control characters, which could move the cursor or change colours."""
    if value is None:
        return ""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in str(value))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, footer: str | None = None) -> None:
    """Prints a table with a header; cells are never interpreted as markup."""
    # Cells are folded and never cut off: a shortened ID or key is useless.
    headers = [Column(name, overflow="fold", no_wrap=name in UNWRAPPED) for name in columns]
    table = Table(*headers, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(printable(cell)) for cell in row))
    screen = console()
    screen.print(table)
    if footer:
        screen.print(Text(footer))


def print_fields(fields: Mapping[str, Any]) -> None:
    """Prints one field per line; empty fields are left out."""
    width = max(map(len, fields), default=0)
    for name, value in fields.items():
        if value not in (None, "", ()):
            click.echo(f"{name.ljust(width)}  {printable(value)}")


def local_time(milliseconds: int | None) -> str:
    """Unix milliseconds as a time in the local time zone, to the second; "" for None."""
    if milliseconds is None:
        return ""
    return datetime.fromtimestamp(milliseconds / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def age(milliseconds: int) -> str:
    """The time since these Unix milliseconds, in the largest unit: `40s`, `3m`, `2h`, `5d`."""
    seconds = max(0, int(time.time() - milliseconds / 1000))
    for unit, length in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def record_json(record: Record) -> dict[str, Any]:
    """All fields of an attachment's record."""
    return record.model_dump(mode="json")


STYLES = {"done": "green", "rejected": "yellow", "failed": "red", "expired": "magenta", "stored": "cyan"}


def status_text(status: str) -> Text:
    """A status in its colour."""
    return Text(status, style=STYLES.get(status.strip(), ""))
