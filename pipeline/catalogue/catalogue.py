"""Accept, claim, end, find: every move of an attachment is one transaction together with its count."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

from sqlalchemy import Executable

from pipeline.catalogue import rows, statements
from pipeline.catalogue.cancellations import Cancellations
from pipeline.catalogue.claim_writes import ClaimWrites, FinishRequest
from pipeline.catalogue.claims import CLOCKS_DIFFER_S, Claims
from pipeline.catalogue.database import Database
from pipeline.catalogue.deliveries import Deliveries
from pipeline.catalogue.delivery_models import OutgoingEvent
from pipeline.catalogue.engines import WAIT_S
from pipeline.catalogue.failures import FailureGroups
from pipeline.catalogue.filters import Filters
from pipeline.catalogue.group_commit import GroupCommit
from pipeline.catalogue.pauses import Pauses
from pipeline.catalogue.previews import Previews
from pipeline.catalogue.schema import check
from pipeline.catalogue.search import Search
from pipeline.catalogue.session import Session
from pipeline.catalogue.single_flight import SingleFlight
from pipeline.catalogue.statistics import Statistics, percentile
from pipeline.catalogue.tables import TOTALS
from pipeline.errors import Code, PermanentError, PipelineError, SupersededError, or_raise
from pipeline.history import HistoryEntry, read_lines
from pipeline.models import Accepted, Attachment, Claim, Failure, Record, Refusal, Stage, Status, Stored
from pipeline.models.replacement_source import NewSource

NEWEST = 1000  # finished attachments whose durations are looked at
LONGEST_LEASE_S = 600


class Catalogue:
    """The catalogue on SQLite or PostgreSQL, for all threads of a process, also of one that forks.

    `durable` makes SQLite sync the disk at every commit, as the intake needs; without it a power cut (not a killed
    process) may undo the newest commits, which repeats steps that may be repeated. PostgreSQL always syncs.
    `wait_s` is how long a call waits for what others hold locked, all together.
    `clock` gives Unix seconds; hosts that share a catalogue need clocks that agree to well within a lease.

    Every method raises:
        RetryableError: `catalogue`, if the database cannot be reached, is locked or full.
        CatalogueError: if its tables are missing.
    """

    def __init__(
        self, url: str, *, durable: bool = False, wait_s: float = WAIT_S, clock: Callable[[], float] = time.time
    ) -> None:
        self._database = Database(url, durable=durable, wait_s=wait_s)
        self._wait_s = wait_s
        self._clock = clock
        self.previews = Previews(self._database, self.now)
        self.failures = FailureGroups(self._database)
        self.search = Search(self._database)
        self.pauses = Pauses(self._database, now=self.now)
        self.statistics = Statistics(self._database)
        self.cancellations = Cancellations(self._database, now=self.now)
        self.deliveries = Deliveries(self._database, self.now)
        self._moves = ClaimWrites(self._database, self.deliveries, self.now)
        self._claims = Claims(self._database, self.now, wait_s=wait_s)
        self._accepting: GroupCommit[dict[str, Any], Accepted] = GroupCommit(self._database, self._accept)

    # --- the way of one attachment ---

    def accept(self, attachment: Attachment, *, intake: bool = False) -> Accepted:
        """Notes that this attachment was handed over; a repeat is answered with its state.

        `intake` tells that its bytes lie in storage under its intake key.
        """
        row = rows.accepted_row(attachment, intake=intake, now=self.now())

        if self._database.dialect == "sqlite":
            return self._accepting.do(row, wait_s=self._wait_s)
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
        """Takes the right to work on it for `lease_s` seconds.

        `takeover` takes it from whoever holds it now; with `heir_of` from the holder of this token alone. `flight` is
        for who is about to fetch it.

        Raises:
            PacedError: `fetch_busy`, if by its `flight` it waits for another with the same content; it is not claimed.
        """
        return self._claims.claim(
            media_id, lease_s=lease_s, takeover=takeover, previous_token=previous_token, single_flight=single_flight
        )

    def renew(self, tokens: Collection[str], *, lease_s: float) -> None:
        """Extends these claims to `lease_s` seconds from now; those that were lost stay lost."""
        until = self.now() + _ms(lease_s)

        def work(session: Session) -> None:
            for token in sorted(tokens):  # in one order everywhere, or two writers could wait for each other
                session.change(statements.RENEW, media_id=token.partition(".")[0], token=token, until=until)

        if tokens:
            self._database.write(work)

    def confirm(self, claim: Claim) -> Record:
        """The row as it stands, if the claim is still held.

        Raises:
            SupersededError: the claim was lost.
        """
        return or_raise(self._database.read(lambda session: self._moves.standing(session, claim)))

    def release(self, claim: Claim, *, stage: Stage, attempts: int, error: PipelineError | None) -> None:
        """Lets go of it with what the next attempt has to know. An ending that is decided already stays as it is.

        Raises:
            SupersededError: the claim was lost.
        """
        told = (error.code.value, rows.shortened(error.message)) if error else (None, None)
        news = {"new_stage": stage.value, "new_attempts": attempts, "new_error_code": told[0], "new_error": told[1]}
        news["history"] = claim.attempt_log.pending_lines()

        def work(session: Session) -> None:
            if not session.row(statements.RELEASE, **_holder(claim), now=self.now(), **news):
                raise SupersededError(claim.id)
            if error:
                self._moves.count(session, {"retried": 1})

        self._database.write(work)
        claim.attempt_log.mark_written()

    def mark_stored_many(self, moves: Sequence[tuple[Claim, Stored]]) -> list[Record | PipelineError]:
        """`stored` for several in one transaction: each one's record, or the error that it alone has met."""
        return self._moves.stored(moves)

    def mark_failed(self, claim: Claim, ending: Failure) -> Record:
        """Notes how it ended without success; its announcement and `finish` follow. The first ending stands.

        Raises:
            SupersededError: the claim was lost.
        """
        return or_raise(self._moves.ended(claim, ending))

    def finish(self, claim: Claim, *, announced: bool, outgoing: OutgoingEvent | None = None) -> Record:
        """Closes it: nothing is left to do. What was stored is `done` once it is announced.

        `outgoing` is written down for each of its endpoints in the same transaction.

        Raises:
            SupersededError: the claim was lost.
            PermanentError: `internal`, if it has not ended, or is stored and not announced.
        """
        return or_raise(self.finish_many([FinishRequest(claim, announced, outgoing)])[0])

    def finish_many(self, moves: Sequence[FinishRequest]) -> list[Record | PipelineError]:
        """`finish` for several in one transaction: each one's record, or the error that it alone has met."""
        return self._moves.finish(moves)

    def reopen(self, media_id: str, *, source: NewSource | None = None, intake: bool = False) -> Record | None:
        """Sends a rejected, failed or expired attachment round again; None if there is nothing to replay.

        A failed one goes on at the stage that failed, with what that stage was given; with a new `source` and after
        any other ending it starts at fetch. `intake` tells that its new bytes lie in storage under its intake key.
        """
        if not rows.is_id(media_id):
            return None

        def work(session: Session) -> Record | None:
            row = session.row(statements.REPLAYED, media_id=media_id)
            if row is None:
                return None
            again = rows.reopened_row(rows.claim("", row), source=source, intake=intake, now=self.now())
            reopened = session.row(statements.REOPEN, media_id=media_id, now=self.now(), **again)
            return rows.record(reopened) if reopened else None

        return self._database.write(work)

    # --- deleting ---

    def delete(self, media_id: str) -> Record | None:
        """Makes a tombstone of what has ended; None if there is nothing to delete.

        Its `storage_key` is the content that may go now, if nobody else has it; `content_gone` ends the deletion.
        """
        if not rows.is_id(media_id):
            return None

        def work(session: Session) -> Record | None:
            row = session.row(statements.DELETE, media_id=media_id, now=self.now())
            if row:
                self.deliveries.scrub(session, media_id)
            return rows.record(row) if row else None

        return self._database.write(work)

    def is_content_in_use(self, sha256: str) -> bool:
        """Whether an attachment that is not deleted has this content."""
        return self._database.read(lambda session: session.row(statements.HOLDERS, sha256=sha256)) is not None

    def mark_content_deleted(self, tombstone: Record) -> None:
        """Notes that a deletion is through, unless it was begun again meanwhile."""
        given = {"media_id": tombstone.id, "deleted_at": tombstone.deleted_at}
        self._database.write(lambda session: session.change(statements.CONTENT_GONE, **given))

    def find_deletions(self, hashes: Collection[str], *, since: int) -> dict[str, list[tuple[int, bool]]]:
        """When attachments with these contents were deleted (ms), and whether the content may still go for it.

        Contents of which none was deleted are left out.
        """
        if not hashes:
            return {}
        given = {f"sha256_{number}": sha256 for number, sha256 in enumerate(hashes)}
        statement = statements.deletions(len(hashes))
        found: dict[str, list[tuple[int, bool]]] = {}
        for sha256, at, undone in self._database.read(lambda session: session.rows(statement, since=since, **given)):
            found.setdefault(sha256, []).append((at, bool(undone)))
        return found

    def unfinished_deletions(self, *, older_than_s: float, limit: int = 1000) -> list[str]:
        """The ids of deletions that somebody began so long ago and did not end."""
        given = {"before": self.now() - _ms(older_than_s), "limit": limit}
        return [row[0] for row in self._database.read(lambda session: session.rows(statements.UNDONE, **given))]

    # --- looking ---

    def get(self, media_id: str) -> Record | None:
        if not rows.is_id(media_id):
            return None
        row = self._database.read(lambda session: session.row(statements.GET, media_id=media_id))
        return rows.record(row) if row else None

    def history(self, media_id: str) -> list[HistoryEntry]:
        """Its way through the stages so far, the first attempt first; empty if there is no such attachment.

        What a worker has done since its last write is not there yet.
        """
        if not rows.is_id(media_id):
            return []
        row = self._database.read(lambda session: session.row(statements.HISTORY, media_id=media_id))
        return read_lines(row[0]) if row else []

    def find(self, filters: Filters, *, limit: int = 50, after: str | tuple[int, str] | None = None) -> list[Record]:
        """Newest first, at most `limit`, behind the attachment with the id `after`, or behind (received_at, id).

        Raises:
            PermanentError: `not_found`, if there is no attachment `after`.
        """
        given = {**filters.given(), "since": filters.since or 0, "limit": limit, **self._position(after)}
        statement = statements.listing(frozenset(filters.given()), paged=after is not None)
        return self._records(statement, given)

    def count(self, filters: Filters) -> int:
        statement = statements.counting(frozenset(filters.given()))
        return self._number(statement, **filters.given(), since=filters.since or 0)

    def unfinished(self, *, older_than_s: float, limit: int = 1000, after: str | None = None) -> list[str]:
        """The ids of what was accepted or let go so long ago and nobody works on; oldest first, behind `after`."""
        now = self.now()
        given = {"now": now, "before": now - _ms(older_than_s), "limit": limit, **self._position(after)}
        given["absurd"] = now + _ms(LONGEST_LEASE_S + CLOCKS_DIFFER_S)
        statement = statements.UNFINISHED_AFTER if after else statements.UNFINISHED
        return [row[0] for row in self._database.read(lambda session: session.rows(statement, **given))]

    # --- counting ---

    def increment(self, name: str, n: int = 1) -> None:
        """Counts `n` more events of this name."""
        self._database.write(lambda session: self._moves.count(session, {name: n}))

    def totals(self) -> dict[str, int]:
        """Events since the catalogue began, by name."""
        sums = self._database.read(lambda session: session.rows(statements.SUMS))
        return dict.fromkeys(TOTALS, 0) | {name: int(n) for name, n in sums}

    def durations(self) -> dict[str, int | None]:
        """Mean and percentiles in ms from received to finished, of the newest 1000 that were done at their first go.

        They are looked for among the newest 10,000 that finished.
        All None while there is none. A replay's time is that of the person who asked for it, so it does not count.
        """
        given = {"now": self.now(), "newest": 10 * NEWEST, "limit": NEWEST}
        times = sorted(
            row[0] for row in self._database.read(lambda session: session.rows(statements.DURATIONS, **given))
        )
        if not times:
            return {"mean": None, "p50": None, "p95": None, "p99": None}
        return {"mean": round(sum(times) / len(times)), **{f"p{p}": percentile(times, p) for p in (50, 95, 99)}}

    def oldest_s(self) -> float:
        """How many seconds ago the oldest arrived that has not ended at its first go; 0 if all have."""
        row = self._database.read(lambda session: session.row(statements.OLDEST))
        return max(0, self.now() - row[0]) / 1000 if row else 0.0

    def per_minute(self) -> int:
        """How many were finished within the last minute, however they ended."""
        return self._number(statements.FINISHED_SINCE, since=self.now() - 60_000)

    # --- the tables ---

    def migrate(self) -> None:
        """Brings the tables up to this version. Several processes may do so at once.

        Raises:
            CatalogueError: the tables were made by a newer version.
        """
        # Alembic takes 0.2 s to import, and no other command needs it.
        importlib.import_module("pipeline.catalogue.migrations.upgrade").upgrade(self._database)

    def check_schema(self) -> None:
        """Raises CatalogueError if the tables are not those of this version."""
        check(self._database)

    def close(self) -> None:
        """Closes the connections; the catalogue can be used again and opens new ones."""
        self._database.close()

    def now(self) -> int:
        """Unix milliseconds by the catalogue's clock."""
        return _ms(self._clock())

    # --- within ---

    def _accept(self, session: Session, handed_over: Sequence[dict[str, Any]]) -> list[Accepted]:
        accepted = []
        for row in handed_over:
            fresh = session.change(statements.ACCEPT[self._database.dialect], **row) == 1
            known = None if fresh else session.row(statements.STATUS, media_id=row["id"])
            accepted.append(Accepted(id=row["id"], status=known[0] if known else Status.RECEIVED, fresh=fresh))
        fresh_ones = sum(one.fresh for one in accepted)
        events = {"received": fresh_ones, "duplicates": len(accepted) - fresh_ones}
        self._moves.count(session, {name: n for name, n in events.items() if n})
        return accepted

    def _position(self, after: str | tuple[int, str] | None) -> dict[str, Any]:
        if after is None:
            return {}
        if isinstance(after, tuple):
            return {"after_at": after[0], "after_id": after[1]}
        row = None
        if rows.is_id(after):
            row = self._database.read(lambda session: session.row(statements.POSITION, media_id=after))
        if row is None:
            raise PermanentError(Code.NOT_FOUND, "there is no attachment to go on after")
        return {"after_at": row[0], "after_id": row[1]}

    def _records(self, statement: Executable, given: dict[str, Any]) -> list[Record]:
        return [rows.record(row) for row in self._database.read(lambda session: session.rows(statement, **given))]

    def _number(self, statement: Executable, **given: Any) -> int:
        row = self._database.read(lambda session: session.row(statement, **given))
        return int(row[0]) if row else 0


def _ms(seconds: float) -> int:
    return int(seconds * 1000)


def _holder(claim: Claim) -> dict[str, str]:
    return {"media_id": claim.id, "token": claim.token}
