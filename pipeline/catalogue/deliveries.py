"""The outbox: every event for every endpoint, from the transaction that ended its attachment until it is delivered."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pipeline.catalogue import delivery_statements as statements
from pipeline.catalogue.database import Database
from pipeline.catalogue.delivery_models import (
    NO_PROBE_LATER_MS,
    OPENS_AFTER,
    DeliveryAttempt,
    DeliveryFilters,
    DeliveryRecord,
    DeliveryResult,
    EndpointCircuit,
    EndpointStats,
    Exchange,
    OutgoingEvent,
)
from pipeline.catalogue.session import Session
from pipeline.models import Record

CLOCKS_DIFFER_MS = 60_000
LONGEST_WAIT_MS = 62 * 86_400_000  # no attempt is ever due later than that
TRIMMED_AT_ONCE = 1000
MAX_ERROR = 500  # characters
DELETED = "the attachment was deleted"


class Deliveries:
    """Deliveries on SQLite or PostgreSQL. Every method raises what those of Catalogue do.

    Locks are taken in one order everywhere, the receiver's row before those of its deliveries.
    """

    def __init__(self, database: Database, now: Callable[[], int]) -> None:
        self._database = database
        self._now = now

    # --- within the transactions of the catalogue ---

    def write_down(self, session: Session, record: Record, outgoing: OutgoingEvent) -> None:
        """A row for each endpoint; said twice, the first word stands."""
        told = {"event_id": outgoing.event_id, "type": outgoing.type, "body": outgoing.body}
        of = {"media_id": record.id, "session": record.session, "now": self._now()}
        for endpoint in outgoing.endpoints:
            made = delivery_id(outgoing.event_id, endpoint)
            session.change(statements.WRITE_DOWN[self._database.dialect], id=made, endpoint=endpoint, **told, **of)

    def scrub(self, session: Session, media_id: str) -> None:
        """Removes what was to be told of an attachment; what was not delivered is withdrawn."""
        session.change(statements.SCRUB, media_id=media_id, now=self._now(), why=DELETED)

    # --- handing over ---

    def is_due(self, endpoint: str) -> bool:
        given = {"endpoint": endpoint, "now": self._now()}
        return self._database.read(lambda session: session.row(statements.IS_DUE, **given)) is not None

    def circuit(self, endpoint: str) -> EndpointCircuit:
        return self._database.read(lambda session: self._circuit(session, endpoint))

    def record_and_claim(
        self, endpoint: str, results: Sequence[DeliveryResult], *, want: int, lease_s: float
    ) -> Exchange:
        """Notes how attempts ended, and takes up to `want` others to be made now: one transaction.

        Whoever does not come back within `lease_s` is taken for dead, and the attempt is made by another one. While the
        circuit is open nothing is given out but one at a time, once its moment has come.
        """

        def work(session: Session) -> Exchange:
            before = self._circuit(session, endpoint)
            after = self._note(session, endpoint, before, results)
            attempts = self._take(session, endpoint, after, want=want, until=self._now() + int(lease_s * 1000))
            return Exchange(attempts, before, after)

        return self._database.write(work)

    def release(self, attempts: Iterable[DeliveryAttempt]) -> None:
        """Lets go of what was not tried to its end, for another one to take at once."""
        given = [{"id": attempt.id, "token": attempt.token, "now": self._now()} for attempt in attempts]
        if given:
            self._database.write(lambda session: [session.change(statements.GIVE_BACK, **one) for one in given])

    # --- looking ---

    def get(self, delivery: str) -> DeliveryRecord | None:
        if not is_delivery_id(delivery):
            return None
        row = self._database.read(lambda session: session.row(statements.ONE, id=delivery))
        return _record(row) if row else None

    def find(
        self, filters: DeliveryFilters, *, limit: int = 50, after: tuple[int, str] | None = None
    ) -> list[DeliveryRecord]:
        """Newest first, at most `limit`, behind (created_at, id)."""
        given = {**filters.given(), "since": filters.since or 0, "limit": limit}
        if after:
            given |= {"after_at": after[0], "after_id": after[1]}
        statement = statements.listing(frozenset(filters.given()), paged=after is not None)
        return [_record(row) for row in self._database.read(lambda session: session.rows(statement, **given))]

    def count(self, filters: DeliveryFilters) -> int:
        statement = statements.counting(frozenset(filters.given()))
        given = {**filters.given(), "since": filters.since or 0}
        row = self._database.read(lambda session: session.row(statement, **given))
        return int(row[0]) if row else 0

    def endpoint_stats(self, known: Iterable[str] = ()) -> list[EndpointStats]:
        """How things stand at each endpoint that is `known`, that has something pending or has given something up."""
        now = self._now()

        def work(session: Session) -> tuple[Any, Any, Any]:
            wanted = (statements.PENDING, statements.UNDELIVERED_COUNT, statements.CIRCUITS)
            pending, given_up, circuits = (session.rows(statement) for statement in wanted)
            return pending, given_up, circuits

        rows = self._database.read(work)
        pending = {name: (int(n), max(0, now - since) / 1000) for name, n, since in rows[0]}
        given_up = {name: int(n) for name, n in rows[1]}
        circuits = {name: EndpointCircuit(*rest) for name, *rest in rows[2]}
        names = dict.fromkeys([*known, *sorted({*pending, *given_up})])
        return [
            EndpointStats(name, pending.get(name, (0, 0.0))[0], given_up.get(name, 0), pending.get(name, (0, 0.0))[1],
                     circuits.get(name, EndpointCircuit()))
            for name in names
        ]  # fmt: skip

    # --- looking after them ---

    def redeliver(self, ids: Sequence[str]) -> list[str]:
        """Makes these due now, with all their attempts anew; returns those that could be.

        What is delivered, or belongs to an attachment that was deleted, cannot. An open circuit is probed at once.
        """
        endpoints = {found.endpoint for one in ids if (found := self.get(one))}

        def work(session: Session) -> list[str]:
            for endpoint in sorted(endpoints):
                session.change(statements.PROBE_NOW, endpoint=endpoint)
            wanted = sorted({one for one in ids if is_delivery_id(one)})
            return [one for one in wanted if session.row(statements.REDELIVER, id=one, now=self._now())]

        return self._database.write(work)

    def give_up(self, endpoint: str, *, older_than_s: float, why: str) -> int:
        """Ends what has been pending for longer than that; how many."""
        given = {"endpoint": endpoint, "before": self._now() - int(older_than_s * 1000), "why": why[:MAX_ERROR]}
        return self._database.write(lambda session: session.change(statements.GIVE_UP, now=self._now(), **given))

    def fix_due_times(self, *, lease_s: float) -> int:
        """Makes due at once what only a clock that is wrong can have put off; how many."""
        now = self._now()
        given = {"now": now, "lease_absurd": now + int(lease_s * 1000) + CLOCKS_DIFFER_MS}
        return self._database.write(
            lambda session: session.change(statements.MEND, absurd=now + LONGEST_WAIT_MS, **given)
        )

    def trim(self, *, older_than_s: float) -> int:
        """Forgets what was delivered or withdrawn so long ago; how many."""
        given = {"before": self._now() - int(older_than_s * 1000), "limit": TRIMMED_AT_ONCE}
        gone = 0
        while n := self._database.write(lambda session: session.change(statements.TRIM, **given)):
            gone += n
        return gone

    # --- within ---

    @staticmethod
    def _circuit(session: Session, endpoint: str) -> EndpointCircuit:
        row = session.row(statements.CIRCUIT_OF, endpoint=endpoint)
        return EndpointCircuit(*row) if row else EndpointCircuit()

    def _note(
        self, session: Session, endpoint: str, before: EndpointCircuit, results: Sequence[DeliveryResult]
    ) -> EndpointCircuit:
        """Writes down how attempts ended, in their order; how it stands with the receiver after them."""
        now = self._now()
        last_well = max((place for place, result in enumerate(results) if result.error is None), default=-1)
        failed = results[last_well + 1 :]
        circuit = before if last_well < 0 else EndpointCircuit()
        if last_well >= 0 and before.failures:
            session.change(statements.WELL, endpoint=endpoint)
        if failed:
            circuit = _failing(circuit, failed, now)
            n = circuit.failures - (before.failures if last_well < 0 else 0)
            given = {"endpoint": endpoint, "n": n, "probe_at": circuit.probe_at, "error": circuit.error}
            session.change(statements.FAILING[self._database.dialect], now=now, **given)
        for result in results:
            self._settle(session, result, now)
        if last_well >= 0 and before.open:
            given = {"endpoint": endpoint, "failing_since": before.failing_since}
            session.change(statements.BRING_FORWARD, now=now, **given)
        return circuit

    @staticmethod
    def _settle(session: Session, result: DeliveryResult, now: int) -> None:
        mine = {"id": result.attempt.id, "token": result.attempt.token, "now": now}
        if result.error is None:
            session.change(statements.DELIVERED, **mine)
        elif result.retry_in_s is None:
            session.change(statements.UNDELIVERED, error=result.error[:MAX_ERROR], **mine)
        else:
            next_at = now + int(result.retry_in_s * 1000)
            session.change(statements.AGAIN, error=result.error[:MAX_ERROR], next_at=next_at, **mine)

    def _take(
        self, session: Session, endpoint: str, circuit: EndpointCircuit, *, want: int, until: int
    ) -> list[DeliveryAttempt]:
        now = self._now()
        if want < 1 or circuit.wait_ms(now):
            return []
        if circuit.open:
            probe = {"endpoint": endpoint, "now": now, "absurd": now + NO_PROBE_LATER_MS, "until": until}
            if not session.change(statements.PROBE, opens_after=OPENS_AFTER, **probe):
                return []
        token = secrets.token_hex(16)
        given = {"endpoint": endpoint, "now": now, "want": 1 if circuit.open else want, "until": until}
        found = session.rows(statements.CLAIM, token=token, **given)
        if circuit.open and not found:
            session.change(statements.PROBE_NOW, endpoint=endpoint)
        return sorted((DeliveryAttempt(token, *row) for row in found), key=lambda attempt: attempt.since)


def delivery_id(event_id: str, endpoint: str) -> str:
    """32 hex digits from the event and the endpoint: the same event is written down for an endpoint once."""
    return hashlib.sha256(f"{event_id}:{endpoint}".encode()).hexdigest()[:32]


def is_delivery_id(text: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{32}", text) is not None


def _failing(circuit: EndpointCircuit, failed: Sequence[DeliveryResult], now: int) -> EndpointCircuit:
    n = sum(OPENS_AFTER if result.gone else 1 for result in failed)
    since = circuit.failing_since if circuit.failing_since is not None else now
    error = str(failed[-1].error)[:MAX_ERROR]
    longer = circuit._replace(failures=circuit.failures + n, failing_since=since, error=error)
    retry_after_s = max(result.retry_after_s for result in failed)
    # Also while it is closed: another process may note the failure that opens it in this moment.
    return longer._replace(probe_at=now + longer.probe_delay_ms(now, retry_after_s=retry_after_s))


def _record(row: Sequence[Any]) -> DeliveryRecord:
    return DeliveryRecord.model_validate(dict(zip(statements.SHOWN, row, strict=True)))
