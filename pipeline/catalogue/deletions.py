"""Deletions of attachments, in the table `media`.

A deletion records what it is about to do before it looks for other attachments with the content. A worker that stores
the same content records that before it looks for deletions. So at least one of the two sees the other. The row keeps
its storage key until the content is gone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection
from typing import Any

from sqlalchemy import Select, bindparam, literal_column, null, or_, select, update

from pipeline.catalogue import rows
from pipeline.catalogue.database import Database
from pipeline.catalogue.deliveries import Deliveries
from pipeline.catalogue.session import Session
from pipeline.catalogue.statements import BY_ID, NO_SOURCE
from pipeline.catalogue.tables import RECORD, media
from pipeline.models import Record

_p = bindparam
_is_deleted = media.c.status == literal_column("'deleted'")
_CLEARED = (
    *("chat", "sender", "chat_number", "sender_number"),
    *("name", "filename", "caption", "mismatch", "error", "progress", "history"),
    *("declared_sha256", "source_mark"),
)

DELETE = (
    update(media)
    .where(BY_ID, media.c.finished_at.is_not(None), or_(~_is_deleted, media.c.storage_key.is_not(None)))
    .values(
        status=literal_column("'deleted'"),
        deleted_at=_p("now"),
        payload=NO_SOURCE,
        intake=False,
        **dict.fromkeys(_CLEARED, null()),
    )
    .returning(*RECORD)
)
HOLDERS = (
    select(media.c.id)
    .where(
        media.c.sha256 == _p("sha256"),
        media.c.storage_key.is_not(None),
        media.c.deleted_at.is_(None),
    )
    .limit(1)
)
CONTENT_DELETED = update(media).where(BY_ID, media.c.deleted_at == _p("deleted_at")).values(storage_key=None)
UNFINISHED = (
    select(media.c.id)
    .where(_is_deleted, media.c.storage_key.is_not(None))
    .where(media.c.deleted_at < _p("before"))
    .limit(_p("limit"))
)


@functools.cache
def of_contents(number: int) -> Select[Any]:
    """Selects the deletions of this number of contents. Their hashes are the parameters `sha256_0` and so on."""
    hashes: list[Any] = [_p(f"sha256_{index}") for index in range(number)]
    return select(media.c.sha256, media.c.deleted_at, media.c.storage_key.is_not(None)).where(
        media.c.sha256.in_(hashes), media.c.deleted_at >= _p("since")
    )


class Deletions:
    """Deletions on SQLite or PostgreSQL. `now` returns Unix ms. Every method raises what those of `Catalogue` do."""

    def __init__(self, database: Database, deliveries: Deliveries, now: Callable[[], int]) -> None:
        self._database = database
        self._deliveries = deliveries
        self._now = now

    def start(self, media_id: str) -> Record | None:
        """Turns a finished attachment into a tombstone. None if there is nothing to delete.

        The content under the tombstone's `storage_key` may be deleted now, if no other attachment uses it. `finish`
        ends the deletion.
        """
        if not rows.is_id(media_id):
            return None

        def work(session: Session) -> Record | None:
            row = session.row(DELETE, media_id=media_id, now=self._now())
            if row:
                self._deliveries.withdraw(session, media_id)
            return rows.record(row) if row else None

        return self._database.write(work)

    def is_content_in_use(self, sha256: str) -> bool:
        """Whether an attachment that is not deleted has this content."""
        return self._database.read(lambda session: session.row(HOLDERS, sha256=sha256)) is not None

    def finish(self, tombstone: Record) -> None:
        """Records that the content is gone, unless the deletion was started again in the meantime."""
        values = {"media_id": tombstone.id, "deleted_at": tombstone.deleted_at}
        self._database.write(lambda session: session.execute(CONTENT_DELETED, **values))

    def find(self, hashes: Collection[str], *, since: int) -> dict[str, list[tuple[int, bool]]]:
        """When attachments with these contents were deleted (Unix ms), and whether that deletion is unfinished.

        Contents without a deletion are left out.
        """
        if not hashes:
            return {}
        values = {f"sha256_{index}": sha256 for index, sha256 in enumerate(hashes)}
        statement = of_contents(len(hashes))
        deletions: dict[str, list[tuple[int, bool]]] = {}
        for sha256, at, unfinished in self._database.read(lambda s: s.rows(statement, since=since, **values)):
            deletions.setdefault(sha256, []).append((at, bool(unfinished)))
        return deletions

    def unfinished(self, *, older_than_s: float, limit: int = 1000) -> list[str]:
        """The ids of deletions that were started longer ago than this and are unfinished."""
        values = {"before": self._now() - int(older_than_s * 1000), "limit": limit}
        return [row[0] for row in self._database.read(lambda session: session.rows(UNFINISHED, **values))]
