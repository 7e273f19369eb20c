"""The catalogue: it accepts attachments, grants claims on them, and records how they end.

Every change of an attachment and of the counters that belong to it is one transaction.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Collection, Mapping, Sequence

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
from pipeline.catalogue.listing import Listing
from pipeline.catalogue.new_rows import NewRow, NewRows
from pipeline.catalogue.pauses import Pauses
from pipeline.catalogue.previews import Previews
from pipeline.catalogue.schema import check
from pipeline.catalogue.search import Search
from pipeline.catalogue.session import Session
from pipeline.catalogue.sessions import Sessions
from pipeline.catalogue.single_flight import SingleFlight
from pipeline.catalogue.sources import Sources
from pipeline.catalogue.statistics import Statistics
from pipeline.catalogue.tables import TOTALS
from pipeline.catalogue.user_tokens import UserTokens
from pipeline.errors import PipelineError, or_raise
from pipeline.history import HistoryEntry, read_lines
from pipeline.models import Accepted, Attachment, Claim, Failure, Record, Refusal, Stage, Stored
from pipeline.models.replacement_source import NewSource
from pipeline.security.encryption import SourceCipher
from pipeline.security.scopes import ALL_SESSIONS, Scope

LONGEST_LEASE_S = 600


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
        self._new_rows = NewRows(self._database, self._writes, wait_s=wait_s)
        self._listing = Listing(self._database)

    # --- one attachment, from accept to finish ---

    def accept(self, attachment: Attachment, *, intake: bool = False) -> Accepted:
        """Records a new attachment. For a repeated message it returns the state of the first one.

        A row that an earlier version made under the message's `former_id` is the first one too.

        With `intake` the bytes are in storage under the intake key.
        """
        values = rows.accepted_row(attachment, self._cipher, intake=intake, now=self.now())
        return self._new_rows.accept(NewRow(values, attachment.former_id))

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
        self._writes.renew(tokens, until=self.now() + _ms(lease_s))

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
        self._writes.release(claim, stage=stage, attempts=attempts, error=error)

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
        return self._listing.find(filters, limit=limit, after=after, scope=scope)

    def count(self, filters: Filters, *, scope: Scope = ALL_SESSIONS) -> int:
        return self._listing.count(filters, scope=scope)

    def unfinished(self, *, older_than_s: float, limit: int = 1000, after: str | None = None) -> list[str]:
        """The ids of unfinished attachments without a live claim since this time; oldest first, after the id `after`.

        The time counts from when an attachment was accepted or released.
        """
        now = self.now()
        values = {"now": now, "before": now - _ms(older_than_s), "limit": limit, **self._listing.position(after)}
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


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
