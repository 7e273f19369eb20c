"""The table of attachments that `list`, `cancel --dry-run` and `replay --dry-run` print."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from esteira.cli.output import age, print_table, status_text
from pipeline.models import Record

COLUMNS = ("id", "status", "stage", "age", "kind", "session", "message id", "name", "error")
DRY_RUN_ROWS = 20  # rows that a dry run prints; the footer has the full count


def print_media_table(records: Iterable[Record], *, footer: str | None = None) -> None:
    """Prints one attachment per row."""
    print_table(COLUMNS, map(_row, records), footer=footer)


def _row(record: Record) -> tuple[Any, ...]:
    return (
        *(record.id, status_text(record.status), record.stage, age(record.received_at)),
        *(record.kind or record.declared_kind, record.session, record.message_id),
        *(record.name or record.filename, record.error_code),
    )
