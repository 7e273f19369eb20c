"""What the holders of claims write: stored, ended, finished. Many at once share a transaction, and each fares alone."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Executable

from pipeline.catalogue import rows, statements
from pipeline.catalogue.database import Database
from pipeline.catalogue.deliveries import Deliveries
from pipeline.catalogue.delivery_models import OutgoingEvent
from pipeline.catalogue.session import Session
from pipeline.catalogue.tables import SHARDS
from pipeline.errors import CancelledError, Code, PermanentError, PipelineError, SupersededError
from pipeline.models import Claim, Failure, Record, Status, Stored


class FinishRequest(NamedTuple):
    """An attachment to be closed; see `Catalogue.finish`."""

    claim: Claim
    announced: bool
    outgoing: OutgoingEvent | None = None


class _Move(NamedTuple):
    """One row's transition, and what is counted with it: events of these names, or of the row's status if None."""

    claim: Claim
    statement: Executable
    history: str
    values: dict[str, Any]
    counters: Sequence[str] | None = None
    closing: bool = True  # the write is the last deed of the attempt under way
    outgoing: OutgoingEvent | None = None


Moved = tuple[Record | PipelineError, bool]  # and whether the move applied


class ClaimWrites:
    """Transitions of the table `media` under a claim. `now` gives Unix milliseconds.

    Each gives the row as it stands afterwards, or the error of this one alone; in the order of what was given.
    """

    def __init__(self, database: Database, deliveries: Deliveries, now: Callable[[], int]) -> None:
        self._database = database
        self._deliveries = deliveries
        self._now = now

    def stored(self, given: Sequence[tuple[Claim, Stored]]) -> list[Record | PipelineError]:
        moves = []
        for claim, stored in given:
            history = claim.attempt_log.pending_lines(closing=True)
            counters = ("stored", "deduplicated") if stored.validated.detected.fetched.deduplicated else ("stored",)
            moves.append(_Move(claim, statements.STORED, history, rows.stored_row(stored), counters=counters))
        return [CancelledError() if _is_received(record) else record for record in self._make(moves)]

    def ended(self, claim: Claim, ending: Failure) -> Record | PipelineError:
        final = rows.ending_entry(ending, run=claim.record.run)
        history = claim.attempt_log.pending_lines(final=final)
        move = _Move(claim, statements.END, history, rows.ended_row(ending), counters=(), closing=False)
        return self._make([move])[0]

    def finish(self, given: Sequence[FinishRequest]) -> list[Record | PipelineError]:
        moves = []
        for claim, announced, outgoing in given:
            statement = statements.FINISH_ANNOUNCED if announced else statements.FINISH_SILENTLY
            moves.append(_Move(claim, statement, claim.attempt_log.pending_lines(closing=True), {}, outgoing=outgoing))
        return [_finished(record) for record in self._make(moves)]

    def standing(self, session: Session, claim: Claim) -> Record | SupersededError:
        """The row as it stands, if the claim is still held."""
        row = session.row(statements.STANDING, media_id=claim.id, token=claim.token)
        return rows.record(row) if row else SupersededError(claim.id)

    def count(self, session: Session, events: Mapping[str, int]) -> None:
        """Counts events by their names.

        Last in its transaction and in one order everywhere, so that no two can wait for each other's counters.
        """
        shard = random.randrange(SHARDS)  # noqa: S311  spreads load, hides nothing
        for name in sorted(events):
            session.change(statements.COUNT[self._database.dialect], name=name, shard=shard, n=events[name])

    def _make(self, moves: Sequence[_Move]) -> list[Record | PipelineError]:
        if not moves:
            return []
        try:
            made = self._database.write(lambda session: self._all(session, moves))
        except PermanentError as error:  # what the database cannot hold is one's alone
            return [error] if len(moves) == 1 else [self._make([move])[0] for move in moves]
        except PipelineError as error:
            return [error] * len(moves)
        for move, (_, applied) in zip(moves, made, strict=True):
            if applied:
                move.claim.attempt_log.mark_written(closing=move.closing)
        return [outcome for outcome, _ in made]

    def _all(self, session: Session, moves: Sequence[_Move]) -> list[Moved]:
        now = self._now()
        made: dict[int, Moved] = {}
        # In the order of their ids, or two writers of the same rows could wait for each other.
        for at in sorted(range(len(moves)), key=lambda at: moves[at].claim.id):
            made[at] = self._one(session, moves[at], now)
        events: Counter[str] = Counter()
        for at, (record, applied) in sorted(made.items()):
            if applied and isinstance(record, Record):
                self._follow_up(session, moves[at], record, events)
        self.count(session, events)
        return [made[at] for at in range(len(moves))]

    def _one(self, session: Session, move: _Move, now: int) -> Moved:
        """Where it does not apply, the row as it stands, if the claim still does."""
        claim = move.claim
        held = {"media_id": claim.id, "token": claim.token, "now": now, "history": move.history}
        if move.statement is statements.STORED:
            record = self._store(session, move, held)
        elif move.statement is statements.FINISH_ANNOUNCED:
            record = _announced(session, claim, held)
        else:
            row = session.row(move.statement, **held, **move.values)
            record = rows.record(row) if row else None
        return (record, True) if record else (self.standing(session, claim), False)

    def _store(self, session: Session, move: _Move, held: dict[str, Any]) -> Record | None:
        if self._database.dialect != "sqlite":
            row = session.row(statements.STORED_AND_PREVIEWED, **held, **move.values)
            if row is None:
                return None
            has_preview = bool(row[0])
        else:
            if not session.change(statements.STORED, **held, **move.values):
                return None
            has_preview = session.row(statements.PREVIEWED, sha256=move.values["sha256"]) is not None
        return rows.just_stored(move.claim.record, move.values, now=held["now"], has_preview=has_preview)

    def _follow_up(self, session: Session, move: _Move, record: Record, events: Counter[str]) -> None:
        if move.outgoing:
            self._deliveries.write_down(session, record, move.outgoing)
        events.update((record.status.value,) if move.counters is None else move.counters)


def _announced(session: Session, claim: Claim, held: dict[str, Any]) -> Record | None:
    if claim.record.status is Status.STORED and session.change(statements.FINISH_STORED, **held):
        return rows.just_done(claim.record, now=held["now"])
    row = session.row(statements.FINISH_ANNOUNCED, **held)
    return rows.record(row) if row else None


def _is_received(outcome: Record | PipelineError) -> bool:
    return isinstance(outcome, Record) and outcome.status is Status.RECEIVED


def _finished(outcome: Record | PipelineError) -> Record | PipelineError:
    if isinstance(outcome, Record) and outcome.finished_at is None:
        return PermanentError(Code.INTERNAL, f"{outcome.id} is {outcome.status} and cannot be finished so")
    return outcome
