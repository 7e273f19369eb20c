"""`esteira audit`: who changed what, newest first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import rich_click as click

from actors.operations.audit_text import describe
from esteira.cli.environment import catalogue_for_command
from esteira.cli.filters import Since
from esteira.cli.output import examples, local_time, print_entries, print_json
from esteira.cli.table_layout import Column
from pipeline.catalogue import Action, AuditFilters, AuditOutcome, AuditRecord, Catalogue, Via

COLUMNS = (
    Column("at", rank=0),
    Column("who", rank=1, least=8),
    Column("role", rank=5),
    Column("via", rank=6),
    Column("from", rank=7, least=8),
    Column("action", rank=2),
    Column("count", rank=4),
    Column("outcome", rank=3),
    Column("details", rank=8, least=8),
)
FIRST_LINE = ("at", "who", "action", "count", "outcome")  # of an entry on a narrow terminal
PAGE = 1000  # entries per query


@click.command(
    epilog=examples(
        "esteira audit",
        "esteira audit --who maria --since 7d",
        "esteira audit --action delete --since 2026-11-01 --until 2026-12-01",
        "esteira audit --outcome refused",
        "esteira audit --since 30d --limit 100000 --jsonl > audit.jsonl",
    )
)
@click.option("--who", metavar="NAME", help="Only of this user; commands have the name `cli`.")
@click.option("--action", type=click.Choice(list(map(str, Action))), metavar="ACTION", help="Only this action.")
@click.option("--outcome", type=click.Choice(list(map(str, AuditOutcome))), help="Only with this outcome.")
@click.option("--via", type=click.Choice(list(map(str, Via))), help="Only through this interface.")
@click.option("--since", type=Since(), help="Only since: `2h`, `3d` or an ISO date.")
@click.option("--until", type=Since(), help="Only before: `2h`, `3d` or an ISO date.")
@click.option("--limit", type=click.IntRange(1, 1_000_000), default=50, show_default=True, help="Maximum of entries.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array with all fields.")
@click.option("--jsonl", "as_lines", is_flag=True, help="Print one line of JSON for each entry.")
def audit(limit: int, as_json: bool, as_lines: bool, **filters: Any) -> None:
    """Lists the actions that changed something, and those that were refused, newest first.

    `started` is the outcome of an action that is in progress, or whose process was killed. The log keeps the entries of
    AUDIT_DAYS.
    """
    if as_json and as_lines:
        raise click.UsageError("give either --json or --jsonl")
    entries = _entries(catalogue_for_command(), AuditFilters(**filters), limit)
    if as_lines:
        for entry in entries:
            print_json(entry.model_dump(mode="json"))
    elif as_json:
        print_json([entry.model_dump(mode="json") for entry in entries])
    else:
        rows = [_row(entry) for entry in entries]
        print_entries(COLUMNS, rows, first_line=FIRST_LINE, empty="No entries match.")


def _entries(catalogue: Catalogue, filters: AuditFilters, limit: int) -> Iterator[AuditRecord]:
    after, left = None, limit
    while left and (page := catalogue.audit.find(filters, limit=min(PAGE, left), after=after)):
        yield from page
        left -= len(page)
        after = page[-1].at, page[-1].id


def _row(entry: AuditRecord) -> tuple[str, ...]:
    result = describe(entry.detail, local_time)
    details = " → ".join(filter(None, (describe(entry.target, local_time), result)))
    actor = (entry.who, entry.role, entry.via, entry.source)
    return (
        local_time(entry.at),
        *(text or "" for text in actor),
        entry.action,
        str(entry.count),
        entry.outcome,
        details,
    )
