"""`esteira stats`: queue lengths, totals and processing times."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

import rich_click as click
from rich.cells import cell_len
from rich.console import Group
from rich.live import Live
from rich.text import Text

from actors.operations.stats import stats as current_stats
from esteira.cli.output import console, examples, print_json, printable, terminal_width
from esteira.cli.services import services_for_command
from esteira.cli.table_layout import GAP, Column, Table

REFRESH_S = 1.0
NAME_WIDTH = 12  # cells that a name is shortened to at least, before columns are left out
TITLE_WIDTH = 10  # characters of the column with the words totals, duration, finished and paused
SESSION_ROWS = 10  # sessions in the table; JSON has up to a hundred


@click.command(
    epilog=examples(
        "esteira stats",
        "esteira stats --watch",
        "esteira stats --json | jq .queues.fetch.ready",
    )
)
@click.option("--watch", is_flag=True, help="Refresh every second until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; with --watch one line every second.")
def stats(watch: bool, as_json: bool) -> None:
    """Shows the queue of each stage, the totals since the database was created, and recent processing times.

    Ready: waiting for a worker. Delayed: waiting for the next attempt. Running: taken by a worker. Dead: given up after
    the last attempt. The session table has the ten sessions with the most ready attachments; --json has a hundred.
    """
    services_for_command()
    if not watch:
        _print(current_stats(), as_json)
    elif as_json or not sys.stdout.isatty():
        _print_repeatedly(as_json)
    else:
        _watch()


def _print_repeatedly(as_json: bool) -> None:
    try:
        while True:
            _print(current_stats(), as_json)
            time.sleep(REFRESH_S)
    except KeyboardInterrupt:
        return


def _watch() -> None:
    try:
        with Live(_tables(current_stats()), console=console(), auto_refresh=False) as live:
            while True:
                time.sleep(REFRESH_S)
                live.update(_tables(current_stats()), refresh=True)
    except KeyboardInterrupt:
        return


def _print(stats: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(stats)
    else:
        console().print(_tables(stats))


def _tables(stats: dict[str, Any]) -> Group:
    totals = [f"{name} {count}" for name, count in stats["totals"].items()]
    duration = [f"{name} {_milliseconds(value)}" for name, value in stats["duration_ms"].items()]
    sessions = list(stats["sessions"].items())[:SESSION_ROWS]
    busiest = {printable(name) or "(unknown)": counts for name, counts in sessions}
    paused = [f"{pause['kind']} {printable(pause['name'])}" for pause in stats["pauses"]]
    return Group(
        *_table("queue", stats["queues"]),
        *(_table("session", busiest) if busiest else []),
        *_lines("totals", totals),
        *_lines("duration", duration),
        *_lines("finished", [f"{stats['per_minute']} in the last minute"]),
        *_lines("paused", paused, style="yellow"),
        *_lines("spool", _spool(stats["intake_spool"]), style="yellow"),
    )


def _spool(figures: dict[str, Any] | None) -> list[str]:
    """What waits in the intake spool of this machine; empty if it is empty."""
    if not figures or not (figures["entries"] or figures["damaged"]):
        return []
    return [f"{figures['entries']} waiting, {figures['oldest_s']:.0f} s", f"{figures['damaged']} damaged"]


def _table(title: str, rows: dict[str, dict[str, int]]) -> list[Text]:
    """A table with one row per name and one column per state, and an empty line."""
    states = list(next(iter(rows.values()), {}))
    columns = [
        Column(title, rank=0, least=NAME_WIDTH),
        *(Column(s, rank=n, right=True) for n, s in enumerate(states, 1)),
    ]
    cells = [[Text(name), *(Text(str(counts[state])) for state in states)] for name, counts in rows.items()]
    return [*Table(columns, cells).lines(console(), terminal_width()), Text()]


def _lines(title: str, parts: Sequence[str], *, style: str = "") -> list[Text]:
    """The parts after a title: one line in a pipe; on a terminal as many as needed, and no part is broken."""
    width = terminal_width()
    lines: list[Text] = []
    for part in parts:
        if lines and (width is None or lines[-1].cell_len + len(GAP) + cell_len(part) <= width):
            lines[-1].append(GAP + part)
        else:
            lines.append(Text(f"{'' if lines else title:<{TITLE_WIDTH}}{part}", style=style))
    return [_shortened(line, width) for line in lines] if width else lines


def _shortened(line: Text, width: int) -> Text:
    line.truncate(width, overflow="ellipsis")
    return line


def _milliseconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f} ms"
