"""What the runs came to, for a terminal, as JSON, and as rows of a Markdown table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from scripts.faults.run import Outcome
from scripts.faults.table import FAULTS

COLUMNS = ("fault", "rounds", "accepted", "ended", "lost", "stuck", "wrong", "twice", "left", "gave up", "recovery")


def listing() -> Table:
    """Every fault that there is."""
    table = Table("id", "fault", "rounds", "short", box=None, pad_edge=False)
    for fault in FAULTS.values():
        table.add_row(fault.id, fault.title, str(fault.rounds), str(fault.short or ""))
    return table


def show(outcomes: Sequence[Outcome], console: Console) -> None:
    """The table, and below it what did not hold."""
    table = Table(*COLUMNS, title_justify="left", box=None, pad_edge=False)
    for outcome in outcomes:
        table.add_row(*cells(outcome))
    console.print(table)
    for outcome in outcomes:
        for fault in [*(f"{name} = {n}" for name, n in outcome.tally.faults.items()), *outcome.broken]:
            console.print(f"{outcome.name} ({outcome.order.arm}): {fault}", style="red")
        for example in outcome.tally.examples[:10]:
            console.print(f"  {example}", style="dim")
        if outcome.folder:
            console.print(f"  kept: {outcome.folder}", style="dim")


def cells(outcome: Outcome) -> tuple[str, ...]:
    """One row of the table."""
    if outcome.skipped:
        return (outcome.name, f"skipped: {outcome.skipped}", *[""] * (len(COLUMNS) - 2))
    tally = outcome.tally
    twice = tally.duplicate_rows + tally.duplicate_objects + tally.duplicate_events
    figures = (outcome.rounds, tally.accepted, tally.ended, tally.lost, tally.stuck, tally.wrong, twice)
    return (outcome.name, *map(str, (*figures, tally.left_over, tally.gave_up)), recovery(outcome))


def recovery(outcome: Outcome) -> str:
    """The times that say something about this fault."""
    times = outcome.tally.times
    said = [
        (f"rerun p95 {times.rerun_p95} s (n {times.reruns})", times.rerun_p95),
        (f"resumed {times.resume_max} s", times.resume_max),
        (f"settled {times.settle_max} s", times.settle_max),
        (f"exit {times.exit_max} s", times.exit_max),
        (f"answer p99 {times.answer_p99} s, max {times.answer_max} s", times.answer_p99),
    ]
    return "; ".join(text for text, value in said if value is not None)


def write_json(outcomes: Sequence[Outcome], path: Path) -> None:
    path.write_text(json.dumps([outcome.to_json() for outcome in outcomes], indent=1) + "\n")
