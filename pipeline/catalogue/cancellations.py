"""Cancelling: what has not ended is marked, and from then on no other ending than that can be written for it."""

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
    .where(statements.BY_ID, statements.RUNNING, statements.IS_RECEIVED)
    .values(cancelled_at=func.coalesce(media.c.cancelled_at, bindparam("now")))
    .returning(*RECORD)
)
# Like a deletion's note: whoever stores the same content looks for it afterwards, and stores it again if it has gone.
WITHDRAW = (
    update(media)
    .where(statements.HELD, statements.IS_RECEIVED)
    .values(sha256=bindparam("sha256"), storage_key=bindparam("key"), deleted_at=bindparam("now"))
    .returning(*RECORD)
)


class Cancellations:
    """Marks in the table `media`. `now` gives Unix ms. Every method raises what those of `Catalogue` do."""

    def __init__(self, database: Database, *, now: Callable[[], int]) -> None:
        self._database = database
        self._now = now

    def request(self, media_id: str) -> Record | None:
        """Marks one that is neither stored nor refused; once more changes nothing. None if there is no such one."""
        if not rows.is_id(media_id):
            return None
        given = {"media_id": media_id, "now": self._now()}
        row = self._database.write(lambda session: session.row(CANCEL, **given))
        return rows.record(row) if row else None

    def withdraw(self, claim: Claim, *, sha256: str, key: str) -> Record:
        """Notes that the content which was just stored for it goes again, unless others have it by then.

        Raises:
            SupersededError: the claim was lost.
        """
        given = {"media_id": claim.id, "token": claim.token, "sha256": sha256, "key": key, "now": self._now()}
        row = self._database.write(lambda session: session.row(WITHDRAW, **given))
        if row is None:
            raise SupersededError(claim.id)
        return rows.record(row)
