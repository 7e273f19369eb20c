"""Writes of claim holders, from renewal to finish. Several share a transaction, and each has its own result."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Executable

from pipeline.catalogue import rows, statements
from pipeline.catalogue.database import Database
from pipeline.catalogue.deliveries import Deliveries
from pipeline.catalogue.delivery_models import OutgoingEvent
from pipeline.catalogue.session import Session
from pipeline.catalogue.tables import SHARDS
from pipeline.errors import CancelledError, Code, PermanentError, PipelineError, SupersededError
from pipeline.models import Claim, Failure, Record, Stage, Status, Stored


class FinishRequest(NamedTuple):
    """An attachment to finish; see `Catalogue.finish`."""

    claim: Claim
    announced: bool
    outgoing: OutgoingEvent | None = None


class _Write(NamedTuple):
    """The update of one row. `counters` are incremented with it; None means the counter of the row's new status."""

    claim: Claim
    statement: Executable
    history: str
    values: dict[str, Any]
    counters: Sequence[str] | None = None
    closing: bool = True  # this update is the last action of the current attempt
    outgoing: OutgoingEvent | None = None


Written = tuple[Record | PipelineError, bool]  # the row or the error, and whether the update applied


class ClaimWrites:
    """Updates of the table `media` under a claim. `now` returns Unix milliseconds.

    A method that takes several items returns the row after the update, or an error, for each in their order.
    """

    def __init__(self, database: Database, deliveries: Deliveries, now: Callable[[], int]) -> None:
        self._database = database
        self._deliveries = deliveries
        self._now = now

    def renew(self, tokens: Collection[str], *, until: int) -> None:
        """See `Catalogue.renew`."""

        def work(session: Session) -> None:
            for token in sorted(tokens):  # the same order everywhere, to avoid deadlocks between writers
                session.execute(statements.RENEW, media_id=token.partition(".")[0], token=token, until=until)

        if tokens:
            self._database.write(work)

    def release(self, claim: Claim, *, stage: Stage, attempts: int, error: PipelineError | None) -> None:
        """See `Catalogue.release`."""
        code, message = (error.code.value, rows.shortened(error.message)) if error else (None, None)
        values = {"new_stage": stage.value, "new_attempts": attempts, "new_error_code": code, "new_error": message}
        values["history"] = claim.attempt_log.pending_lines()

        def work(session: Session) -> None:
            holder = {"media_id": claim.id, "token": claim.token}
            if not session.row(statements.RELEASE, **holder, now=self._now(), **values):
                raise SupersededError(claim.id)
            if error:
                self.count(session, {"retried": 1})

        self._database.write(work)
        claim.attempt_log.mark_written()

    def mark_stored(self, contents: Sequence[tuple[Claim, Stored]]) -> list[Record | PipelineError]:
        writes = []
        for claim, stored in contents:
            history = claim.attempt_log.pending_lines(closing=True)
            counters = ("stored", "deduplicated") if stored.validated.detected.fetched.deduplicated else ("stored",)
            writes.append(_Write(claim, statements.STORED, history, rows.stored_row(stored), counters=counters))
        return [CancelledError() if _is_received(record) else record for record in self._write(writes)]

    def mark_failed(self, claim: Claim, failure: Failure) -> Record | PipelineError:
        final = rows.failure_entry(failure, run=claim.record.run)
        history = claim.attempt_log.pending_lines(final=final)
        write = _Write(claim, statements.END, history, rows.failed_row(failure), counters=(), closing=False)
        return self._write([write])[0]

    def finish(self, requests: Sequence[FinishRequest]) -> list[Record | PipelineError]:
        writes = []
        for claim, announced, outgoing in requests:
            statement = statements.FINISH_ANNOUNCED if announced else statements.FINISH_SILENTLY
            history = claim.attempt_log.pending_lines(closing=True)
            writes.append(_Write(claim, statement, history, {}, outgoing=outgoing))
        return [_finished(record) for record in self._write(writes)]

    def current(self, session: Session, claim: Claim) -> Record | SupersededError:
        """The current row, if the claim is still held."""
        row = session.row(statements.CURRENT, media_id=claim.id, token=claim.token)
        return rows.record(row) if row else SupersededError(claim.id)

    def count(self, session: Session, events: Mapping[str, int]) -> None:
        """Increments counters by name.

        Must come last in its transaction. The order of the names avoids deadlocks between writers.
        """
        shard = random.randrange(SHARDS)  # noqa: S311  spreads load, hides nothing
        for name in sorted(events):
            session.execute(statements.COUNT[self._database.dialect], name=name, shard=shard, n=events[name])

    def _write(self, writes: Sequence[_Write]) -> list[Record | PipelineError]:
        if not writes:
            return []
        try:
            results = self._database.write(lambda session: self._write_all(session, writes))
        except PermanentError as error:  # the database refuses one of them; the others are written one by one
            return [error] if len(writes) == 1 else [self._write([write])[0] for write in writes]
        except PipelineError as error:
            return [error] * len(writes)
        for write, (_, applied) in zip(writes, results, strict=True):
            if applied:
                write.claim.attempt_log.mark_written(closing=write.closing)
        return [record for record, _ in results]

    def _write_all(self, session: Session, writes: Sequence[_Write]) -> list[Written]:
        now = self._now()
        results: dict[int, Written] = {}
        # In the order of the ids, to avoid deadlocks between writers of the same rows.
        for index in sorted(range(len(writes)), key=lambda index: writes[index].claim.id):
            results[index] = self._write_one(session, writes[index], now)
        events: Counter[str] = Counter()
        for index, (record, applied) in sorted(results.items()):
            if applied and isinstance(record, Record):
                self._follow_up(session, writes[index], record, events)
        self.count(session, events)
        return [results[index] for index in range(len(writes))]

    def _write_one(self, session: Session, write: _Write, now: int) -> Written:
        """If the update does not apply, the result is the current row, or SupersededError if the claim was lost."""
        claim = write.claim
        common = {"media_id": claim.id, "token": claim.token, "now": now, "history": write.history}
        if write.statement is statements.STORED:
            record = self._store(session, write, common)
        elif write.statement is statements.FINISH_ANNOUNCED:
            record = _finish_announced(session, claim, common)
        else:
            row = session.row(write.statement, **common, **write.values)
            record = rows.record(row) if row else None
        return (record, True) if record else (self.current(session, claim), False)

    def _store(self, session: Session, write: _Write, common: dict[str, Any]) -> Record | None:
        if self._database.dialect != "sqlite":
            row = session.row(statements.STORED_AND_HAS_PREVIEW, **common, **write.values)
            if row is None:
                return None
            has_preview = bool(row[0])
        else:
            if not session.execute(statements.STORED, **common, **write.values):
                return None
            has_preview = session.row(statements.HAS_PREVIEW, sha256=write.values["sha256"]) is not None
        return rows.stored_record(write.claim.record, write.values, now=common["now"], has_preview=has_preview)

    def _follow_up(self, session: Session, write: _Write, record: Record, events: Counter[str]) -> None:
        if write.outgoing:
            self._deliveries.add_event(session, record, write.outgoing)
        events.update((record.status.value,) if write.counters is None else write.counters)


def _finish_announced(session: Session, claim: Claim, common: dict[str, Any]) -> Record | None:
    if claim.record.status is Status.STORED and session.execute(statements.FINISH_STORED, **common):
        return rows.done_record(claim.record, now=common["now"])
    row = session.row(statements.FINISH_ANNOUNCED, **common)
    return rows.record(row) if row else None


def _is_received(result: Record | PipelineError) -> bool:
    return isinstance(result, Record) and result.status is Status.RECEIVED


def _finished(result: Record | PipelineError) -> Record | PipelineError:
    if isinstance(result, Record) and result.finished_at is None:
        return PermanentError(Code.INTERNAL, f"{result.id} has the status {result.status} and cannot be finished")
    return result
