"""`esteira status` and `esteira list`: what the catalogue says of one attachment, and of many."""

from __future__ import annotations

from typing import Any

import rich_click as click

from actors.operations.replay import REPLAYABLE
from esteira.cli.environment import catalogue_for_command
from esteira.cli.filters import filter_options
from esteira.cli.output import age, examples, moment, print_facts, print_json, print_table, record_json, status_text
from esteira.cli.selection import each_status, newest
from pipeline.errors import Code, PermanentError
from pipeline.history import HistoryEntry
from pipeline.models import Record, Status
from pipeline.remedies import remedy

COLUMNS = ("id", "status", "stage", "age", "kind", "session", "message id", "name", "error")
STEPS = ("at", "run", "stage", "attempt", "outcome", "ms", "worker", "error")
TIMES = tuple(name for name in Record.model_fields if name.endswith("_at"))


@click.command(
    epilog=examples("esteira status 0123456789abcdef0123456789abcdef", "esteira status ID --json | jq .name")
)
@click.argument("media_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print the whole row and its history as JSON.")
def status(media_id: str, as_json: bool) -> None:
    """Shows one attachment: how far it came, what it is, why it ended if it failed, and its way through the stages."""
    catalogue = catalogue_for_command()
    record = catalogue.get(media_id)
    if record is None:
        raise PermanentError(Code.NOT_FOUND, f"no attachment has the id {media_id}; `esteira list` shows the newest")
    history = catalogue.history(media_id)
    if as_json:
        print_json({**record_json(record), "history": [entry.model_dump(mode="json") for entry in history]})
        return
    print_facts(_facts(record))
    if history:
        click.echo()
        print_table(STEPS, map(_step, history))
    _print_remedy(record)


@click.command(
    "list",
    epilog=examples("esteira list --status failed --since 2h", "esteira list --error fetch_timeout --json | jq length"),
)
@filter_options(*Status)
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="At most so many.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array of whole rows.")
def list_(status: tuple[str, ...], limit: int, as_json: bool, **filters: Any) -> None:
    """Shows attachments, the newest first."""
    catalogue = catalogue_for_command()
    chosen = each_status(status, filters)
    records = newest(catalogue, chosen, limit=limit)
    if as_json:
        print_json([record_json(record) for record in records])
        return
    total = sum(map(catalogue.count, chosen))
    print_table(COLUMNS, map(row, records), footer=f"{len(records)} of {total}" if total > len(records) else None)


def row(record: Record) -> tuple[Any, ...]:
    """An attachment as a row under COLUMNS."""
    return (
        *(record.id, status_text(record.status), record.stage, age(record.received_at)),
        *(record.kind or record.declared_kind, record.session, record.message_id),
        *(record.name or record.filename, record.error_code),
    )


def _print_remedy(record: Record) -> None:
    words = remedy(record.error_code) if record.status in REPLAYABLE else None
    if words:
        click.echo(f"\n{words.happened}\n{words.to_do}")


def _step(entry: HistoryEntry) -> tuple[Any, ...]:
    error = ": ".join(part for part in (entry.code, entry.message) if part)
    return moment(entry.at), entry.run, entry.stage, entry.attempt, entry.outcome, entry.ms, entry.worker, error


def _facts(record: Record) -> dict[str, Any]:
    facts = record_json(record)
    return facts | {name: moment(facts[name]) for name in TIMES} | {"flags": ", ".join(record.flags)}
