"""Cancellations. Once an attachment is marked as cancelled, no other outcome can be recorded for it."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import bindparam, func, update

from pipeline.catalogue import rows, statements
from pipeline.catalogue.database import Database
from pipeline.catalogue.tables import RECORD, media
from pipeline.errors import SupersededError
from pipeline.models import Claim, Record

CANCEL = (
    update(media)
    .where(statements.BY_ID, statements.IS_UNFINISHED, statements.IS_RECEIVED)
    .values(cancelled_at=func.coalesce(media.c.cancelled_at, bindparam("now")))
    .returning(*RECORD)
)
# Written as a deletion: a worker that stores the same content afterwards finds it and stores the content again.
WITHDRAW = (
    update(media)
    .where(statements.HELD, statements.IS_RECEIVED)
    .values(sha256=bindparam("sha256"), storage_key=bindparam("key"), deleted_at=bindparam("now"))
    .returning(*RECORD)
)


class Cancellations:
    """Cancellation marks in the table `media`. `now` returns Unix ms. Raises what the methods of `Catalogue` do."""

    def __init__(self, database: Database, *, now: Callable[[], int]) -> None:
        self._database = database
        self._now = now

    def request(self, media_id: str) -> Record | None:
        """Marks an attachment as cancelled, unless it is stored or has failed; then None. Repeating changes nothing."""
        if not rows.is_id(media_id):
            return None
        values = {"media_id": media_id, "now": self._now()}
        row = self._database.write(lambda session: session.row(CANCEL, **values))
        return rows.record(row) if row else None

    def withdraw(self, claim: Claim, *, sha256: str, key: str) -> Record:
        """Records that content which was just stored is about to be deleted, unless another attachment uses it.

        Raises:
            SupersededError: the claim was lost.
        """
        values = {"media_id": claim.id, "token": claim.token, "sha256": sha256, "key": key, "now": self._now()}
        row = self._database.write(lambda session: session.row(WITHDRAW, **values))
        if row is None:
            raise SupersededError(claim.id)
        return rows.record(row)
