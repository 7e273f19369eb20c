"""The tables with their indexes, as the migrations create them.

Apart from tables.py, because defining them imports all dialects, and statements do not need them.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, Index, literal_column

from pipeline.catalogue.tables import audit, deliveries, media, metadata

__all__ = ["metadata"]

Index("ix_media_received", media.c.received_at)
Index("ix_media_status", media.c.status, media.c.received_at)
Index("ix_media_session", media.c.session, media.c.received_at)
Index("ix_media_gateway", media.c.gateway, media.c.session, media.c.received_at)
Index("ix_media_stage", media.c.stage, media.c.received_at)
Index("ix_media_kind", media.c.kind, media.c.received_at)


def _partial(name: str, *columns: Column[Any], where: Any) -> None:
    Index(name, *columns, sqlite_where=where, postgresql_where=where)


_partial("ix_media_error", media.c.error_code, media.c.received_at, where=media.c.error_code.is_not(None))
_partial("ix_media_unfinished", media.c.received_at, where=media.c.finished_at.is_(None))
# Covering: durations and throughput are read from the index only, whatever the size of the table.
_partial(
    "ix_media_finished",
    media.c.finished_at,
    media.c.status,
    media.c.run,
    media.c.received_at,
    where=media.c.finished_at.is_not(None),
)

# Other attachments with a content; recent deletions of a content, and unfinished ones.
_partial("ix_media_content", media.c.sha256, media.c.session, where=media.c.sha256.is_not(None))
_partial("ix_media_deleted", media.c.sha256, media.c.deleted_at, where=media.c.deleted_at.is_not(None))

# Other attachments that are to be fetched with a declared hash.
_partial(
    "ix_media_declared",
    media.c.declared_sha256,
    where=media.c.declared_sha256.is_not(None) & (media.c.status == literal_column("'received'")),
)

# Done attachments of older versions, whose sources are still to be removed.
_partial(
    "ix_media_source",
    media.c.status,
    where=(media.c.status == literal_column("'done'")) & (media.c.payload != literal_column("'{}'")),
)

# FailureGroup in groups, read from the index alone; what is searched for.
_partial(
    "ix_media_failures",
    *(media.c.error_code, media.c.stage, media.c.session, media.c.status, media.c.received_at),
    where=media.c.error_code.is_not(None),
)
Index("ix_media_message", media.c.message_id)
_partial("ix_media_chat", media.c.chat, media.c.received_at, where=media.c.chat.is_not(None))

# The audit log, newest first: all of it, of a user, of an action.
Index("ix_audit_at", audit.c.at, audit.c.id)
Index("ix_audit_who", audit.c.who, audit.c.at, audit.c.id)
Index("ix_audit_action", audit.c.action, audit.c.at, audit.c.id)

# Due deliveries; listings; the deliveries of a deleted attachment.
Index("ix_deliveries_media", deliveries.c.media_id)
Index("ix_deliveries_status", deliveries.c.status, deliveries.c.created_at, deliveries.c.endpoint)
_partial(
    "ix_deliveries_due",
    deliveries.c.endpoint,
    deliveries.c.next_at,
    deliveries.c.since,
    where=deliveries.c.next_at.is_not(None),
)
