"""Webhook deliveries: each event for each endpoint, from the transaction that finishes its attachment to delivery."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pipeline.catalogue import delivery_statements as statements
from pipeline.catalogue.database import Database
from pipeline.catalogue.delivery_models import (
    LATEST_PROBE_MS,
    OPENS_AFTER,
    ClaimedDeliveries,
    DeliveryAttempt,
    DeliveryFilters,
    DeliveryRecord,
    DeliveryResult,
    EndpointCircuit,
    EndpointStats,
    OutgoingEvent,
)
from pipeline.catalogue.session import Session
from pipeline.models import Record

CLOCKS_DIFFER_MS = 60_000
LATEST_RETRY_MS = 62 * 86_400_000  # no attempt is ever scheduled later than this
TRIM_BATCH = 1000  # rows that one transaction of `trim` deletes
MAX_ERROR = 500  # characters
DELETED = "the attachment was deleted"


class Deliveries:
    """Deliveries on SQLite or PostgreSQL. Every method raises what those of `Catalogue` do.

    All transactions lock the row of an endpoint before those of its deliveries.
    """

    def __init__(self, database: Database, now: Callable[[], int]) -> None:
        self._database = database
        self._now = now

    # --- inside transactions of the catalogue ---

    def add_event(self, session: Session, record: Record, event: OutgoingEvent) -> None:
        """Adds a delivery for each endpoint. An existing delivery of the same event is kept."""
        fields = {"event_id": event.event_id, "type": event.type, "body": event.body}
        fields |= {"media_id": record.id, "session": record.session}
        statement = statements.INSERT[self._database.dialect]
        for endpoint in event.endpoints:
            row = {"id": delivery_id(event.event_id, endpoint), "endpoint": endpoint, **fields}
            session.execute(statement, now=self._now(), **row)

    def withdraw(self, session: Session, media_id: str) -> None:
        """Withdraws what was not delivered of a deleted attachment, and removes all bodies."""
        session.execute(statements.WITHDRAW, media_id=media_id, now=self._now(), why=DELETED)

    # --- for the dispatcher ---

    def is_due(self, endpoint: str) -> bool:
        values = {"endpoint": endpoint, "now": self._now()}
        return self._database.read(lambda session: session.row(statements.IS_DUE, **values)) is not None

    def circuit(self, endpoint: str) -> EndpointCircuit:
        return self._database.read(lambda session: self._circuit(session, endpoint))

    def record_and_claim(
        self, endpoint: str, results: Sequence[DeliveryResult], *, want: int, lease_s: float
    ) -> ClaimedDeliveries:
        """Records the results of attempts and claims up to `want` new ones, in one transaction.

        After `lease_s` without a result an attempt is claimed again by any process. While the circuit is open, one
        attempt at a time is claimed, and only when its probe is due.
        """

        def work(session: Session) -> ClaimedDeliveries:
            before = self._circuit(session, endpoint)
            after = self._record(session, endpoint, before, results)
            attempts = self._claim(session, endpoint, after, want=want, until=self._now() + int(lease_s * 1000))
            return ClaimedDeliveries(attempts, before, after)

        return self._database.write(work)

    def release(self, attempts: Iterable[DeliveryAttempt]) -> None:
        """Releases unfinished attempts, so that another process can claim them at once."""
        values = [{"id": attempt.id, "token": attempt.token, "now": self._now()} for attempt in attempts]
        if values:
            self._database.write(lambda session: [session.execute(statements.RELEASE, **row) for row in values])

    # --- reading ---

    def get(self, delivery: str) -> DeliveryRecord | None:
        if not is_delivery_id(delivery):
            return None
        row = self._database.read(lambda session: session.row(statements.GET, id=delivery))
        return _record(row) if row else None

    def by_id_prefix(self, prefix: str, *, limit: int) -> list[DeliveryRecord]:
        """Up to `limit` deliveries whose id begins with these hex digits."""
        values = {"value": prefix, "end": f"{prefix}g", "limit": limit}  # g sorts after every hex digit
        found = self._database.read(lambda session: session.rows(statements.BEGINNING, **values))
        return [_record(row) for row in found]

    def find(
        self, filters: DeliveryFilters, *, limit: int = 50, after: tuple[int, str] | None = None
    ) -> list[DeliveryRecord]:
        """Finds up to `limit` deliveries, newest first, after the (created_at, id) given by `after`."""
        values = {**filters.parameters(), "since": filters.since or 0, "limit": limit}
        if after:
            values |= {"after_at": after[0], "after_id": after[1]}
        statement = statements.listing(frozenset(filters.parameters()), paged=after is not None)
        return [_record(row) for row in self._database.read(lambda session: session.rows(statement, **values))]

    def count(self, filters: DeliveryFilters) -> int:
        statement = statements.counting(frozenset(filters.parameters()))
        values = {**filters.parameters(), "since": filters.since or 0}
        row = self._database.read(lambda session: session.row(statement, **values))
        return int(row[0]) if row else 0

    def endpoint_stats(self, known: Iterable[str] = ()) -> list[EndpointStats]:
        """The statistics of each `known` endpoint, and of each other one with pending or undelivered deliveries."""
        now = self._now()

        def work(session: Session) -> list[Any]:
            queries = (statements.PENDING, statements.UNDELIVERED_COUNT, statements.CIRCUITS)
            return [session.rows(query) for query in queries]

        pending_rows, undelivered_rows, circuit_rows = self._database.read(work)
        pending = {name: (int(n), max(0, now - since) / 1000) for name, n, since in pending_rows}
        undelivered = {name: int(n) for name, n in undelivered_rows}
        circuits = {name: EndpointCircuit(*fields) for name, *fields in circuit_rows}
        names = dict.fromkeys([*known, *sorted({*pending, *undelivered})])
        return [
            EndpointStats(name, pending.get(name, (0, 0.0))[0], undelivered.get(name, 0),
                     pending.get(name, (0, 0.0))[1], circuits.get(name, EndpointCircuit()))
            for name in names
        ]  # fmt: skip

    # --- maintenance ---

    def redeliver(self, ids: Sequence[str]) -> list[str]:
        """Makes these deliveries due now, with all their attempts. Returns the ids that could be redelivered.

        A delivered one, and one of a deleted attachment, cannot. An open circuit is probed at once.
        """
        endpoints = {delivery.endpoint for requested in ids if (delivery := self.get(requested))}

        def work(session: Session) -> list[str]:
            for endpoint in sorted(endpoints):
                session.execute(statements.PROBE_NOW, endpoint=endpoint)
            valid = sorted(set(filter(is_delivery_id, ids)))
            return [delivery for delivery in valid if session.row(statements.REDELIVER, id=delivery, now=self._now())]

        return self._database.write(work)

    def give_up(self, endpoint: str, *, older_than_s: float, why: str) -> int:
        """Gives up deliveries that have been pending longer than this. Returns how many."""
        values = {"endpoint": endpoint, "before": self._now() - int(older_than_s * 1000), "why": why[:MAX_ERROR]}
        return self._database.write(lambda session: session.execute(statements.GIVE_UP, now=self._now(), **values))

    def fix_due_times(self, *, lease_s: float) -> int:
        """Makes deliveries due now whose time only a wrong clock can have written. Returns how many."""
        now = self._now()
        values = {
            "now": now,
            "latest_plausible_lease": now + int(lease_s * 1000) + CLOCKS_DIFFER_MS,
            "latest_plausible": now + LATEST_RETRY_MS,
        }
        return self._database.write(lambda session: session.execute(statements.FIX_DUE_TIMES, **values))

    def trim(self, *, older_than_s: float) -> int:
        """Deletes rows that were delivered or withdrawn longer ago than this. Returns how many."""
        values = {"before": self._now() - int(older_than_s * 1000), "limit": TRIM_BATCH}
        deleted = 0
        while n := self._database.write(lambda session: session.execute(statements.TRIM, **values)):
            deleted += n
        return deleted

    @staticmethod
    def _circuit(session: Session, endpoint: str) -> EndpointCircuit:
        row = session.row(statements.CIRCUIT, endpoint=endpoint)
        return EndpointCircuit(*row) if row else EndpointCircuit()

    def _record(
        self, session: Session, endpoint: str, before: EndpointCircuit, results: Sequence[DeliveryResult]
    ) -> EndpointCircuit:
        """Records results in their order, and returns the circuit after them."""
        now = self._now()
        last_success = max((index for index, result in enumerate(results) if result.error is None), default=-1)
        failed = results[last_success + 1 :]
        circuit = before if last_success < 0 else EndpointCircuit()
        if last_success >= 0 and before.failures:
            session.execute(statements.CLOSE_CIRCUIT, endpoint=endpoint)
        if failed:
            circuit = _after_failures(circuit, failed, now)
            n = circuit.failures - (before.failures if last_success < 0 else 0)
            values = {"endpoint": endpoint, "n": n, "probe_at": circuit.probe_at, "error": circuit.error}
            session.execute(statements.ADD_FAILURES[self._database.dialect], now=now, **values)
        for result in results:
            self._record_one(session, result, now)
        if last_success >= 0 and before.open:
            values = {"endpoint": endpoint, "failing_since": before.failing_since}
            session.execute(statements.BRING_FORWARD, now=now, **values)
        return circuit

    @staticmethod
    def _record_one(session: Session, result: DeliveryResult, now: int) -> None:
        claim = {"id": result.attempt.id, "token": result.attempt.token, "now": now}
        if result.error is None:
            session.execute(statements.DELIVERED, **claim)
        elif result.retry_in_s is None:
            session.execute(statements.UNDELIVERED, error=result.error[:MAX_ERROR], **claim)
        else:
            next_at = now + int(result.retry_in_s * 1000)
            session.execute(statements.RETRY, error=result.error[:MAX_ERROR], next_at=next_at, **claim)

    def _claim(
        self, session: Session, endpoint: str, circuit: EndpointCircuit, *, want: int, until: int
    ) -> list[DeliveryAttempt]:
        now = self._now()
        if want < 1 or circuit.wait_ms(now):
            return []
        if circuit.open:
            probe = {"endpoint": endpoint, "now": now, "latest_plausible": now + LATEST_PROBE_MS, "until": until}
            if not session.execute(statements.PROBE, opens_after=OPENS_AFTER, **probe):
                return []
        token = secrets.token_hex(16)
        values = {"endpoint": endpoint, "now": now, "want": 1 if circuit.open else want, "until": until}
        rows = session.rows(statements.CLAIM, token=token, **values)
        if circuit.open and not rows:
            session.execute(statements.PROBE_NOW, endpoint=endpoint)
        return sorted((DeliveryAttempt(token, *row) for row in rows), key=lambda attempt: attempt.since)


def delivery_id(event_id: str, endpoint: str) -> str:
    """32 hex digits from the event and the endpoint, so that each endpoint has one delivery of an event."""
    return hashlib.sha256(f"{event_id}:{endpoint}".encode()).hexdigest()[:32]


def is_delivery_id(text: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{32}", text) is not None


def _after_failures(circuit: EndpointCircuit, failed: Sequence[DeliveryResult], now: int) -> EndpointCircuit:
    n = sum(OPENS_AFTER if result.gone else 1 for result in failed)
    since = circuit.failing_since if circuit.failing_since is not None else now
    error = str(failed[-1].error)[:MAX_ERROR]
    after = circuit._replace(failures=circuit.failures + n, failing_since=since, error=error)
    retry_after_s = max(result.retry_after_s for result in failed)
    # Set in a closed circuit too: another process may add the failure that opens it at the same time.
    return after._replace(probe_at=now + after.probe_delay_ms(now, retry_after_s=retry_after_s))


def _record(row: Sequence[Any]) -> DeliveryRecord:
    return DeliveryRecord.model_validate(dict(zip(statements.COLUMNS, row, strict=True)))
