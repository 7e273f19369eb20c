"""The catalogue: it accepts attachments, grants claims on them, and records how they end.

Every change of an attachment and of the counters that belong to it is one transaction.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from pipeline.catalogue import rows, statements
from pipeline.catalogue.audit import Audit
from pipeline.catalogue.audit_models import Actor
from pipeline.catalogue.cancellations import Cancellations
from pipeline.catalogue.claim_writes import ClaimWrites, FinishRequest
from pipeline.catalogue.claims import CLOCKS_DIFFER_S, Claims
from pipeline.catalogue.database import Database
from pipeline.catalogue.deletions import Deletions
from pipeline.catalogue.deliveries import Deliveries
from pipeline.catalogue.delivery_models import OutgoingEvent
from pipeline.catalogue.engines import WAIT_S
from pipeline.catalogue.failures import FailureGroups
from pipeline.catalogue.filters import Filters
from pipeline.catalogue.group_commit import GroupCommit
from pipeline.catalogue.pauses import Pauses
from pipeline.catalogue.previews import Previews
from pipeline.catalogue.schema import check
from pipeline.catalogue.scoping import parameters_of, shape_of
from pipeline.catalogue.search import Search
from pipeline.catalogue.session import Session
from pipeline.catalogue.sessions import Sessions
from pipeline.catalogue.single_flight import SingleFlight
from pipeline.catalogue.sources import Sources
from pipeline.catalogue.statistics import Statistics
from pipeline.catalogue.tables import TOTALS
from pipeline.catalogue.user_tokens import UserTokens
from pipeline.errors import Code, PermanentError, PipelineError, SupersededError, or_raise
from pipeline.history import HistoryEntry, read_lines
from pipeline.models import Accepted, Attachment, Claim, Failure, Record, Refusal, Stage, Status, Stored
from pipeline.models.replacement_source import NewSource
from pipeline.security.encryption import SourceCipher
from pipeline.security.scopes import ALL_SESSIONS, Scope

LONGEST_LEASE_S = 600


class _NewRow(NamedTuple):
    """The values of a row to insert, and the id under which an earlier version would have inserted it."""

    values: dict[str, Any]
    former_id: str | None


class Catalogue:
    """The catalogue on SQLite or PostgreSQL, for all threads of a process. It survives a fork.

    With `durable` SQLite syncs the disk at every commit, as the intake needs. Without it a power failure (not a killed
    process) may lose the newest commits, so that steps are repeated, which is safe. PostgreSQL always syncs.
    `wait_s` is how long a call waits for locks in total. `clock` returns Unix seconds; the clocks of hosts that share a
    catalogue must agree to well within a lease. `keys` encrypt the sources of attachments; see `SourceCipher`.

    Every method raises:
        RetryableError: `catalogue`, if the database cannot be reached, is locked or full.
        CatalogueError: if its tables are missing.
    """

    def __init__(
        self,
        url: str,
        *,
        keys: Sequence[str] = (),
        durable: bool = False,
        wait_s: float = WAIT_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = Database(url, durable=durable, wait_s=wait_s)
        self._wait_s = wait_s
        self._clock = clock
        self._cipher = SourceCipher(keys)
        self.deliveries = Deliveries(self._database, self.now)
        self.deletions = Deletions(self._database, self.deliveries, self.now)
        self.cancellations = Cancellations(self._database, now=self.now)
        self.pauses = Pauses(self._database, now=self.now)
        self.audit = Audit(self._database, now=self.now)
        self.previews = Previews(self._database, self.now)
        self.search = Search(self._database)
        self.sessions = Sessions(self._database)
        self.failures = FailureGroups(self._database)
        self.user_tokens = UserTokens(self._database, now=self.now)
        self.statistics = Statistics(self._database, self.now)
        self.sources = Sources(self._database, self._cipher)
        self._writes = ClaimWrites(self._database, self.deliveries, self.now)
        self._claims = Claims(self._database, self.now, self._cipher, wait_s=wait_s)
        self._accepting: GroupCommit[_NewRow, Accepted] = GroupCommit(self._database, self._accept)

    # --- one attachment, from accept to finish ---

    def accept(self, attachment: Attachment, *, intake: bool = False) -> Accepted:
        """Records a new attachment. For a repeated message it returns the state of the first one.

        A row that an earlier version made under the message's `former_id` is the first one too.

        With `intake` the bytes are in storage under the intake key.
        """
        values = rows.accepted_row(attachment, self._cipher, intake=intake, now=self.now())
        row = _NewRow(values, attachment.former_id)
        if self._database.dialect == "sqlite":
            return self._accepting.run(row, wait_s=self._wait_s)
        return self._database.write(lambda session: self._accept(session, [row])[0])

    def claim(
        self,
        media_id: str,
        *,
        lease_s: float,
        takeover: bool = False,
        previous_token: str | None = None,
        single_flight: SingleFlight | None = None,
    ) -> Claim | Refusal:
        """Claims the right to work on an attachment for `lease_s` seconds.

        `takeover` takes it from any holder, `previous_token` only from the holder of that token. `single_flight` is for
        a caller that is about to fetch.

        Raises:
            PacedError: `fetch_busy`: with `single_flight` it waits for another fetch of the same content. The
                attachment is not claimed.
            EncryptionKeyError: its source is needed and cannot be decrypted. It is not claimed.
        """
        return self._claims.claim(
            media_id, lease_s=lease_s, takeover=takeover, previous_token=previous_token, single_flight=single_flight
        )

    def renew(self, tokens: Collection[str], *, lease_s: float) -> None:
        """Extends these claims to `lease_s` seconds from now. Lost claims stay lost."""
        until = self.now() + _ms(lease_s)

        def work(session: Session) -> None:
            for token in sorted(tokens):  # the same order everywhere, to avoid deadlocks between writers
                session.execute(statements.RENEW, media_id=token.partition(".")[0], token=token, until=until)

        if tokens:
            self._database.write(work)

    def confirm(self, claim: Claim) -> Record:
        """The current row, if the claim is still held.

        Raises:
            SupersededError: the claim was lost.
        """
        return or_raise(self._database.read(lambda session: self._writes.current(session, claim)))

    def release(self, claim: Claim, *, stage: Stage, attempts: int, error: PipelineError | None) -> None:
        """Releases the claim, with what the next attempt needs to know. A recorded outcome is not changed.

        Raises:
            SupersededError: the claim was lost.
        """
        code, message = (error.code.value, rows.shortened(error.message)) if error else (None, None)
        values = {"new_stage": stage.value, "new_attempts": attempts, "new_error_code": code, "new_error": message}
        values["history"] = claim.attempt_log.pending_lines()

        def work(session: Session) -> None:
            holder = {"media_id": claim.id, "token": claim.token}
            if not session.row(statements.RELEASE, **holder, now=self.now(), **values):
                raise SupersededError(claim.id)
            if error:
                self._writes.count(session, {"retried": 1})

        self._database.write(work)
        claim.attempt_log.mark_written()

    def mark_stored_many(self, contents: Sequence[tuple[Claim, Stored]]) -> list[Record | PipelineError]:
        """Records in one transaction that these contents are stored. Returns a StoredRecord or an error for each.

        The error is SupersededError if the claim was lost, and CancelledError if the attachment was cancelled; then it
        is not stored. An attachment that is stored already, or has failed, keeps its row.
        """
        return self._writes.mark_stored(contents)

    def mark_failed(self, claim: Claim, failure: Failure) -> Record:
        """Records why the attachment is rejected, failed or expired. The first outcome is kept. `finish` follows.

        Raises:
            SupersededError: the claim was lost.
        """
        return or_raise(self._writes.mark_failed(claim, failure))

    def finish(self, claim: Claim, *, announced: bool, outgoing: OutgoingEvent | None = None) -> Record:
        """Finishes an attachment: no work is left. A stored attachment is `done` once its event is announced.

        The same transaction adds a delivery of `outgoing` for each of its endpoints.

        Raises:
            SupersededError: the claim was lost.
            PermanentError: `internal`, if it has no outcome yet, or is stored and not announced.
        """
        return or_raise(self.finish_many([FinishRequest(claim, announced, outgoing)])[0])

    def finish_many(self, requests: Sequence[FinishRequest]) -> list[Record | PipelineError]:
        """Finishes several attachments in one transaction. Returns the record or the error of each."""
        return self._writes.finish(requests)

    def reopen(self, media_id: str, *, source: NewSource | None = None, intake: bool = False) -> Record | None:
        """Starts a new run of a rejected, failed or expired attachment. None if there is nothing to replay.

        A failed one resumes at the stage that failed, with the input of that stage. With a new `source`, and after any
        other outcome, it starts at fetch. With `intake` its new bytes are in storage under the intake key.

        Raises:
            EncryptionKeyError: its source cannot be decrypted; nothing is changed.
        """
        if not rows.is_id(media_id):
            return None

        def work(session: Session) -> Record | None:
            row = session.row(statements.REPLAYED, media_id=media_id)
            if row is None:
                return None
            last = rows.claim("", row, self._cipher)
            values = rows.reopened_row(last, self._cipher, source=source, intake=intake, now=self.now())
            reopened = session.row(statements.REOPEN, media_id=media_id, now=self.now(), **values)
            return rows.record(reopened) if reopened else None

        return self._database.write(work)

    # --- reading ---

    def get(self, media_id: str) -> Record | None:
        if not rows.is_id(media_id):
            return None
        row = self._database.read(lambda session: session.row(statements.GET, media_id=media_id))
        return rows.record(row) if row else None

    def get_many(self, ids: Collection[str]) -> list[Record]:
        """The records of these ids that there are, read over one connection."""
        known = list(filter(rows.is_id, ids))
        read = self._database.read(
            lambda session: [session.row(statements.GET, media_id=media_id) for media_id in known]
        )
        return [rows.record(row) for row in read if row]

    def history(self, media_id: str) -> list[HistoryEntry]:
        """The attempts of an attachment, oldest first. Empty if there is no such attachment.

        Attempts since a worker's last write are not included.
        """
        if not rows.is_id(media_id):
            return []
        row = self._database.read(lambda session: session.row(statements.HISTORY, media_id=media_id))
        return read_lines(row[0]) if row else []

    def find(
        self,
        filters: Filters,
        *,
        limit: int = 50,
        after: str | tuple[int, str] | None = None,
        scope: Scope = ALL_SESSIONS,
    ) -> list[Record]:
        """Finds up to `limit` attachments, newest first, after the id or the (received_at, id) given by `after`.

        Only those in the `scope` are found.

        Raises:
            PermanentError: `not_found`, if there is no attachment `after`.
        """
        values = {**filters.parameters(), "since": filters.since or 0, "limit": limit, **self._position(after)}
        values |= parameters_of(scope)
        by = frozenset(filters.parameters())
        statement = statements.listing(by, paged=after is not None, scope=shape_of(scope))
        return [rows.record(row) for row in self._database.read(lambda session: session.rows(statement, **values))]

    def count(self, filters: Filters, *, scope: Scope = ALL_SESSIONS) -> int:
        statement = statements.counting(frozenset(filters.parameters()), scope=shape_of(scope))
        values = {**filters.parameters(), "since": filters.since or 0, **parameters_of(scope)}
        row = self._database.read(lambda session: session.row(statement, **values))
        return int(row[0]) if row else 0

    def unfinished(self, *, older_than_s: float, limit: int = 1000, after: str | None = None) -> list[str]:
        """The ids of unfinished attachments without a live claim since this time; oldest first, after the id `after`.

        The time counts from when an attachment was accepted or released.
        """
        now = self.now()
        values = {"now": now, "before": now - _ms(older_than_s), "limit": limit, **self._position(after)}
        values["latest_plausible"] = now + _ms(LONGEST_LEASE_S + CLOCKS_DIFFER_S)
        statement = statements.UNFINISHED_AFTER if after else statements.UNFINISHED
        return [row[0] for row in self._database.read(lambda session: session.rows(statement, **values))]

    # --- counters ---

    def increment(self, name: str, n: int = 1) -> None:
        """Adds `n` to the counter of this name."""
        self.increment_all({name: n})

    def increment_all(self, counts: Mapping[str, int]) -> None:
        """Adds to several counters by name, in one transaction."""
        self._database.write(lambda session: self._writes.count(session, counts))

    def totals(self) -> dict[str, int]:
        """All counters since the catalogue was created, by name."""
        sums = self._database.read(lambda session: session.rows(statements.SUMS))
        return dict.fromkeys(TOTALS, 0) | {name: int(n) for name, n in sums}

    # --- the tables ---

    def migrate(self, *, actor: Actor | None = None) -> tuple[str | None, str]:
        """Migrates the tables to this version. Several processes may do so at once.

        Returns the revision before, None for a new database, and the one after.

        With `actor` a migration that changes the tables is recorded in the audit log, in the same transaction.
        Removes the permissions of others from a SQLite file that was created with them.

        Raises:
            CatalogueError: the tables were made by a newer version.
        """
        self._database.make_private()
        # Importing Alembic takes 0.2 s, and only this command needs it.
        upgrade = importlib.import_module("pipeline.catalogue.migrations.upgrade").upgrade
        before, after = upgrade(self._database, self.audit, actor)
        return before, after

    def check_schema(self, *, newer_allowed: bool = False) -> None:
        """Raises CatalogueError if the tables are not those of this version, or, if that is allowed, of a newer one."""
        check(self._database, newer_allowed=newer_allowed)

    def close(self) -> None:
        """Closes the connections. The catalogue can still be used, and then opens new ones."""
        self._database.close()

    def now(self) -> int:
        """The time of the catalogue's clock in Unix milliseconds."""
        return _ms(self._clock())

    def _accept(self, session: Session, new_rows: Sequence[_NewRow]) -> list[Accepted]:
        accepted = [self._accept_row(session, row) for row in new_rows]
        received = sum(answer.fresh for answer in accepted)
        events = {"received": received, "duplicates": len(accepted) - received}
        self._writes.count(session, {name: n for name, n in events.items() if n})
        return accepted

    def _accept_row(self, session: Session, row: _NewRow) -> Accepted:
        if row.former_id and (former := session.row(statements.STATUS, media_id=row.former_id)):
            return Accepted(id=row.former_id, status=former[0], fresh=False)
        media_id = row.values["id"]
        fresh = session.execute(statements.ACCEPT[self._database.dialect], **row.values) == 1
        known = None if fresh else session.row(statements.STATUS, media_id=media_id)
        return Accepted(id=media_id, status=known[0] if known else Status.RECEIVED, fresh=fresh)

    def _position(self, after: str | tuple[int, str] | None) -> dict[str, Any]:
        if after is None:
            return {}
        if isinstance(after, tuple):
            return {"after_at": after[0], "after_id": after[1]}
        row = None
        if rows.is_id(after):
            row = self._database.read(lambda session: session.row(statements.POSITION, media_id=after))
        if row is None:
            raise PermanentError(Code.NOT_FOUND, "there is no attachment with the id given by 'after'")
        return {"after_at": row[0], "after_id": row[1]}


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
