"""Records new attachments. On SQLite, threads of a process that accept at the same time share a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from pipeline.catalogue import statements
from pipeline.catalogue.claim_writes import ClaimWrites
from pipeline.catalogue.database import Database
from pipeline.catalogue.group_commit import GroupCommit
from pipeline.catalogue.session import Session
from pipeline.models import Accepted, Status


class NewRow(NamedTuple):
    """The values of a row to insert, and the id under which an earlier version would have inserted it."""

    values: dict[str, Any]
    former_id: str | None


class NewRows:
    """See `Catalogue.accept`. `wait_s` is how long one row may wait for its turn."""

    def __init__(self, database: Database, writes: ClaimWrites, *, wait_s: float) -> None:
        self._database = database
        self._writes = writes
        self._wait_s = wait_s
        self._accepting: GroupCommit[NewRow, Accepted] = GroupCommit(database, self._accept)

    def accept(self, row: NewRow) -> Accepted:
        if self._database.dialect == "sqlite":
            return self._accepting.run(row, wait_s=self._wait_s)
        return self._database.write(lambda session: self._accept(session, [row])[0])

    def _accept(self, session: Session, new_rows: Sequence[NewRow]) -> list[Accepted]:
        accepted = [self._accept_row(session, row) for row in new_rows]
        received = sum(answer.fresh for answer in accepted)
        events = {"received": received, "duplicates": len(accepted) - received}
        self._writes.count(session, {name: n for name, n in events.items() if n})
        return accepted

    def _accept_row(self, session: Session, row: NewRow) -> Accepted:
        if row.former_id and (former := session.row(statements.STATUS, media_id=row.former_id)):
            return Accepted(id=row.former_id, status=former[0], fresh=False)
        media_id = row.values["id"]
        fresh = session.execute(statements.ACCEPT[self._database.dialect], **row.values) == 1
        known = None if fresh else session.row(statements.STATUS, media_id=media_id)
        return Accepted(id=media_id, status=known[0] if known else Status.RECEIVED, fresh=fresh)
