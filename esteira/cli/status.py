"""`esteira status`: one attachment in detail."""

from __future__ import annotations

from typing import Any

import rich_click as click

from esteira.cli.environment import catalogue_for_command
from esteira.cli.ids import media_id as complete_id
from esteira.cli.output import examples, local_time, print_fields, print_json, print_table, record_json
from esteira.cli.table_layout import Column
from pipeline.errors import Code, PermanentError
from pipeline.history import HistoryEntry
from pipeline.models import REPLAYABLE, Record
from pipeline.remedies import remedy

HISTORY_COLUMNS = (
    Column("at", rank=0),
    Column("run", rank=4),
    Column("stage", rank=2),
    Column("attempt", rank=5),
    Column("outcome", rank=1),
    Column("ms", rank=6),
    Column("worker", rank=7, least=8),
    Column("error", rank=3, least=20, wraps=True),
)
TIMES = tuple(name for name in Record.model_fields if name.endswith("_at"))


@click.command(
    epilog=examples(
        "esteira status 0123456789abcdef0123456789abcdef",
        "esteira status 01234567",
        "esteira status ID --json | jq .name",
    )
)
@click.argument("media_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print all fields and the history as JSON.")
def status(media_id: str, as_json: bool) -> None:
    """Shows one attachment: its fields, every attempt at every stage, and what to do if it failed.

    The first characters of an ID are enough if no other ID begins with them.
    """
    catalogue = catalogue_for_command()
    record = catalogue.get(complete_id(catalogue, media_id))
    if record is None:
        raise PermanentError(Code.NOT_FOUND, f"no attachment has the id {media_id}; `esteira list` shows the newest")
    history = catalogue.history(record.id)
    if as_json:
        print_json({**record_json(record), "history": [entry.model_dump(mode="json") for entry in history]})
        return
    print_fields(_fields(record))
    if history:
        click.echo()
        print_table(HISTORY_COLUMNS, map(_history_row, history))
    _print_remedy(record)


def _fields(record: Record) -> dict[str, Any]:
    fields = record_json(record)
    return fields | {name: local_time(fields[name]) for name in TIMES} | {"flags": ", ".join(record.flags)}


def _history_row(entry: HistoryEntry) -> tuple[Any, ...]:
    error = ": ".join(part for part in (entry.code, entry.message) if part)
    return local_time(entry.at), entry.run, entry.stage, entry.attempt, entry.outcome, entry.ms, entry.worker, error


def _print_remedy(record: Record) -> None:
    words = remedy(record.error_code) if record.status in REPLAYABLE else None
    if words:
        click.echo(f"\n{words.happened}\n{words.to_do}")
