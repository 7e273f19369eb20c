"""The table of attachments that `list`, `cancel --dry-run` and `replay --dry-run` print."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from esteira.cli.output import age, print_table, status_text
from esteira.cli.table_layout import Column
from pipeline.models import Record

COLUMNS = (
    Column("id", rank=0),
    Column("status", rank=1, least=6),
    Column("stage", rank=8),
    Column("age", rank=5),
    Column("kind", rank=6),
    Column("session", rank=7, least=8),
    Column("message id", rank=9),
    Column("name", rank=2, least=10),
    Column("declared", rank=3, least=10),
    Column("error", rank=4, least=6),
)
NO_MATCH = "No attachments match."
DRY_RUN_ROWS = 20  # rows that a dry run prints; the footer has the full count


def print_media_table(records: Iterable[Record], *, footer: str | None = None) -> None:
    """Prints one attachment per row: `name` is that of the stored file, `declared` the one that the sender gave."""
    print_table(COLUMNS, map(_row, records), footer=footer, empty=NO_MATCH)


def _row(record: Record) -> tuple[Any, ...]:
    return (
        *(record.id, status_text(record.status), record.stage, age(record.received_at)),
        *(record.kind or record.declared_kind, record.session, record.message_id),
        *(record.name, record.filename, record.error_code),
    )
