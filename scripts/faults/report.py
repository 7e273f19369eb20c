"""Reports of runs: a table on the terminal, JSON, and rows of docs/reliability.md."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from scripts.faults.run import Outcome
from scripts.faults.table import FAULTS

COLUMNS = (
    *("fault", "rounds", "accepted", "not accepted", "lost", "unfinished", "wrong result"),
    *("duplicates", "leftovers", "failed", "recovery, s"),
)
DUPLICATES = ("duplicate_rows", "duplicate_objects", "duplicate_events")


def listing() -> Table:
    """Returns the table of all faults."""
    table = Table("id", "fault", "rounds", "short", box=None, pad_edge=False)
    for fault in FAULTS.values():
        table.add_row(fault.id, fault.title, str(fault.rounds), str(fault.short or ""))
    return table


def show(outcomes: Sequence[Outcome], console: Console) -> None:
    """Prints the table, and below it the failed checks."""
    table = Table(*COLUMNS, box=None, pad_edge=False)
    for outcome in outcomes:
        table.add_row(*cells(outcome.to_json()))
    console.print(table)
    for outcome in outcomes:
        for fault in [*(f"{name} = {n}" for name, n in outcome.tally.faults.items()), *outcome.problems]:
            console.print(f"{outcome.job.name} ({outcome.order.arm}): {fault}", style="red")
        for example in outcome.tally.examples[:10]:
            console.print(f"  {example}", style="dim")
        if outcome.folder:
            console.print(f"  kept: {outcome.folder}", style="dim")


def cells(run: dict[str, Any]) -> tuple[str, ...]:
    """Returns one row of the table for a run in JSON form."""
    if run["skipped"]:
        return (run["fault"], f"skipped: {run['skipped']}", *[""] * (len(COLUMNS) - 2))
    figures = [run[name] for name in ("rounds", "accepted")]
    figures += [run["unknown"] + run["refused"], run["lost"], run["unfinished"], run["wrong_results"]]
    figures += [sum(run[name] for name in DUPLICATES), run["leftovers"], run["failed"]]
    measured = "; ".join(filter(None, [*run["figures"], recovery(run["times"])]))
    return (run["fault"], *map(str, figures), measured)


def recovery(times: dict[str, Any]) -> str:
    """Returns the recovery times of a run as text, in seconds."""
    parts = [
        (f"re-run p95 {times['rerun_p95']} (n {times['reruns']})", times["rerun_p95"]),
        (f"resumed {times['resume_max']}", times["resume_max"]),
        (f"settled p95 {times['settle_p95']}, max {times['settle_max']}", times["settle_max"]),
        (f"exit {times['exit_max']}", times["exit_max"]),
        (f"answer p99 {times['answer_p99']}, max {times['answer_max']}", times["answer_p99"]),
    ]
    return "; ".join(text for text, value in parts if value is not None)


def write_json(outcomes: Sequence[Outcome], path: Path) -> None:
    path.write_text(json.dumps([outcome.to_json() for outcome in outcomes], indent=1) + "\n")


def update_document(path: Path, runs: Sequence[dict[str, Any]]) -> None:
    """Writes runs in JSON form into the tables of a document; replaces the row of the same fault and arm.

    Raises:
        ValueError: the document has no table for the arm, which begins with `<!-- chaos: ARM -->`.
    """
    text = path.read_text()
    for run in runs:
        start = text.index(f"<!-- chaos: {run['arm']} -->")
        end = text.index("<!-- end -->", start)
        head, *rows = [line for line in text[start:end].splitlines() if line]
        kept_rows = [row for row in rows if not row.startswith(f"| {run['fault']} |")]
        table = [head, "", *kept_rows[:2], *sorted([*kept_rows[2:], _row(run)])]
        text = text[:start] + "\n".join(table) + "\n" + text[end:]
    path.write_text(text)


def _row(run: dict[str, Any]) -> str:
    name, *figures = cells(run)
    command = f"scripts/chaos {run['arguments']} --seed {run['seed']}"
    if run["arm"] == "stock":
        command += " --control"
    if run["rate"] != 5:
        command += f" --rate {run['rate']:g}"
    return f"| {' | '.join([name, run['title'], *figures, f'`{command}`'])} |"
