"""`esteira stats`: what waits, what ran, how long it took."""

from __future__ import annotations

import sys
import time
from typing import Any

import rich_click as click
from rich import box
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from actors.operations.stats import stats as current_stats
from esteira.cli.environment import services_for_command
from esteira.cli.output import console, examples, print_json, printable

REFRESH_S = 1.0
SESSIONS_SHOWN = 10


@click.command(
    epilog=examples(
        "esteira stats",
        "esteira stats --watch",
        "esteira stats --json | jq .queues.fetch.ready",
    )
)
@click.option("--watch", is_flag=True, help="Refresh every second until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; with --watch a line every second.")
def stats(watch: bool, as_json: bool) -> None:
    """Shows the queues, the totals since the catalogue began, and how long the newest attachments took.

    Of the sessions it shows the ten with most ready, with --json the hundred.
    """
    services_for_command()
    if not watch:
        _print(current_stats(), as_json)
    elif as_json or not sys.stdout.isatty():
        _repeat(as_json)
    else:
        _watch()


def _repeat(as_json: bool) -> None:
    try:
        while True:
            _print(current_stats(), as_json)
            time.sleep(REFRESH_S)
    except KeyboardInterrupt:
        return


def _watch() -> None:
    try:
        with Live(_picture(current_stats()), console=console(), auto_refresh=False) as live:
            while True:
                time.sleep(REFRESH_S)
                live.update(_picture(current_stats()), refresh=True)
    except KeyboardInterrupt:
        return


def _print(figures: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(figures)
    else:
        console().print(_picture(figures))


def _picture(figures: dict[str, Any]) -> Group:
    totals = "  ".join(f"{name} {count}" for name, count in figures["totals"].items())
    duration = "  ".join(f"{name} {_milliseconds(value)}" for name, value in figures["duration_ms"].items())
    sessions = list(figures["sessions"].items())[:SESSIONS_SHOWN]
    busiest = {printable(name) or "(unknown)": counts for name, counts in sessions}
    paused = "  ".join(f"{pause['kind']} {printable(pause['name'])}" for pause in figures["pauses"])
    return Group(
        _table("queue", figures["queues"]),
        *([_table("session", busiest)] if busiest else []),
        Text(f"totals    {totals}"),
        Text(f"duration  {duration}"),
        Text(f"ended     {figures['per_minute']} in the last minute"),
        *([Text(f"paused    {paused}", style="yellow")] if paused else []),
    )


def _table(what: str, rows: dict[str, dict[str, int]]) -> Table:
    """What is in each state, a row for each name."""
    table = Table(what, box=box.SIMPLE_HEAD, pad_edge=False)
    states = list(next(iter(rows.values()), {}))
    for state in states:
        table.add_column(state, justify="right")
    for name, counts in rows.items():
        table.add_row(Text(name), *(str(counts[state]) for state in states))
    return table


def _milliseconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f} ms"
