"""Output of the commands: tables for people, JSON for programs, progress bars on a terminal only."""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

import rich_click as click
from click.exceptions import Exit
from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from esteira.cli.table_layout import GAP, Column, Table, plain_column

if TYPE_CHECKING:  # `esteira settings` prints no record, and need not wait for the models
    from pipeline.models import Record

SURROGATE = re.compile("[\ud800-\udfff]")
# The joiners of emoji sequences and of Indic and Persian words. Unlike other invisible characters they move nothing.
JOINER = re.compile("(?<=[^\x00-\x7f])[\u200c\u200d](?=[^\x00-\x7f])")
PIPE_WIDTH = 10_000  # characters; a table in a pipe is never wrapped, because programs and people search it by line


def console() -> Console:
    """A console on stdout: as wide as the terminal, unwrapped in a pipe."""
    return Console(highlight=False, width=terminal_width() or PIPE_WIDTH)


def terminal_width() -> int | None:
    """The width of the terminal in cells, or COLUMNS if that is set; None if stdout is not a terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


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
    text = str(value)
    joiners = {match.start() for match in JOINER.finditer(text)}
    return "".join(
        char if char.isprintable() or index in joiners else "\N{REPLACEMENT CHARACTER}"
        for index, char in enumerate(text)
    )


def print_table(
    columns: Sequence[Column | str],
    rows: Iterable[Sequence[Any]],
    *,
    footer: str | None = None,
    empty: str | None = None,
) -> None:
    """Prints a table with a header, as wide as the terminal; cells are never interpreted as markup.

    Without rows it prints no header, and `empty` on stderr.
    """
    cells = [[cell if isinstance(cell, Text) else Text(printable(cell)) for cell in row] for row in rows]
    if cells:
        _print_cells(columns, cells)
    elif empty:
        print_message(empty)
    if footer:
        console().print(Text(footer))


def print_entries(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], *, first_line: Sequence[str], empty: str
) -> None:
    """Prints a table if all columns fit; else a line of the `first_line` columns for each row, and the rest below it.

    So nothing is left out and no id is broken. Without rows it prints `empty` on stderr.
    """
    cells = [[Text(printable(cell)) for cell in row] for row in rows]
    screen, width = console(), terminal_width()
    if not cells or Table(columns, cells).fits(width):
        print_table(columns, cells, empty=empty)
        return
    first = [index for index, column in enumerate(columns) if column.name in first_line]
    lines = Table([columns[index] for index in first], [[row[index] for index in first] for row in cells])
    header, *shown = lines.lines(screen, width)
    screen.print(header, soft_wrap=True)
    for line, row in zip(shown, cells, strict=True):
        screen.print(line, soft_wrap=True)
        rest = Text(" · ").join(cell for index, cell in enumerate(row) if index not in first and cell)
        screen.print(Padding(rest, (0, 0, 0, len(GAP)), expand=False))


def _print_cells(columns: Sequence[Column | str], cells: Sequence[Sequence[Text]]) -> None:
    table = Table([_column(column, index) for index, column in enumerate(columns)], cells)
    screen, width = console(), terminal_width()
    for line in table.lines(screen, width):
        screen.print(line, soft_wrap=True)
    if hidden := table.hidden(width):
        note = f"Not shown at this width: {', '.join(hidden)}"
        screen.print(Text(note, style="dim"))


def _column(column: Column | str, position: int) -> Column:
    return column if isinstance(column, Column) else plain_column(column, position)


def print_fields(fields: Mapping[str, Any]) -> None:
    """Prints one field per line; empty fields are left out."""
    width, limit = max(map(len, fields), default=0), terminal_width()
    for name, value in fields.items():
        if value in (None, "", ()):
            continue
        text = printable(value)
        # On a narrow terminal the value has a line of its own, so that an id is not broken.
        fits = limit is None or width + len(GAP) + cell_len(text) <= limit
        click.echo(f"{name.ljust(width)}{GAP}{text}" if fits else f"{name}\n{GAP}{text}")


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
