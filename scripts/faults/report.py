"""What the runs came to, for a terminal, as JSON, and as rows of docs/reliability.md."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from scripts.faults.run import Outcome
from scripts.faults.table import FAULTS

COLUMNS = ("fault", "rounds", "accepted", "no answer", "lost", "stuck", "wrong", "twice", "left", "gave up", "recovery")
TWICE = ("duplicate_rows", "duplicate_objects", "duplicate_events")


def listing() -> Table:
    """Every fault that there is."""
    table = Table("id", "fault", "rounds", "short", box=None, pad_edge=False)
    for fault in FAULTS.values():
        table.add_row(fault.id, fault.title, str(fault.rounds), str(fault.short or ""))
    return table


def show(outcomes: Sequence[Outcome], console: Console) -> None:
    """The table, and below it what did not hold."""
    table = Table(*COLUMNS, box=None, pad_edge=False)
    for outcome in outcomes:
        table.add_row(*cells(outcome.to_json()))
    console.print(table)
    for outcome in outcomes:
        for fault in [*(f"{name} = {n}" for name, n in outcome.tally.faults.items()), *outcome.broken]:
            console.print(f"{outcome.job.name} ({outcome.order.arm}): {fault}", style="red")
        for example in outcome.tally.examples[:10]:
            console.print(f"  {example}", style="dim")
        if outcome.folder:
            console.print(f"  kept: {outcome.folder}", style="dim")


def cells(run: dict[str, Any]) -> tuple[str, ...]:
    """One row of the table, from a run as JSON."""
    if run["skipped"]:
        return (run["fault"], f"skipped: {run['skipped']}", *[""] * (len(COLUMNS) - 2))
    figures = [run[name] for name in ("rounds", "accepted")]
    figures += [run["unknown"] + run["refused"], run["lost"], run["stuck"], run["wrong"]]
    figures += [sum(run[name] for name in TWICE), run["left_over"], run["gave_up"]]
    measured = "; ".join(filter(None, [*run["figures"], recovery(run["times"])]))
    return (run["fault"], *map(str, figures), measured)


def recovery(times: dict[str, Any]) -> str:
    """The times that say something about this fault, in seconds."""
    log_lines = [
        (f"re-run p95 {times['rerun_p95']} (n {times['reruns']})", times["rerun_p95"]),
        (f"resumed {times['resume_max']}", times["resume_max"]),
        (f"settled {times['settle_max']}", times["settle_max"]),
        (f"exit {times['exit_max']}", times["exit_max"]),
        (f"answer p99 {times['answer_p99']}, max {times['answer_max']}", times["answer_p99"]),
    ]
    return "; ".join(text for text, value in log_lines if value is not None)


def write_json(outcomes: Sequence[Outcome], path: Path) -> None:
    path.write_text(json.dumps([outcome.to_json() for outcome in outcomes], indent=1) + "\n")


def update_document(path: Path, runs: Sequence[dict[str, Any]]) -> None:
    """Puts runs, as JSON, into the document's tables: a row there of the same fault and arm is replaced.

    Raises:
        ValueError: the document has no table for that arm, which begins with `<!-- chaos: ARM -->`.
    """
    text = path.read_text()
    for run in runs:
        start = text.index(f"<!-- chaos: {run['arm']} -->")
        end = text.index("<!-- end -->", start)
        head, *rows = [line for line in text[start:end].splitlines() if line]
        stored_files = [row for row in rows if not row.startswith(f"| {run['fault']} |")]
        table = [head, "", *stored_files[:2], *sorted([*stored_files[2:], _row(run)])]
        text = text[:start] + "\n".join(table) + "\n" + text[end:]
    path.write_text(text)


def _row(run: dict[str, Any]) -> str:
    name, *figures = cells(run)
    command = f"scripts/chaos {run['asked']} --seed {run['seed']}"
    if run["arm"] == "stock":
        command += " --control"
    if run["rate"] != 5:
        command += f" --rate {run['rate']:g}"
    return f"| {' | '.join([name, run['title'], *figures, f'`{command}`'])} |"
