"""Tests of webhook deliveries that every database must pass."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.catalogue import (
    Catalogue,
    Deliveries,
    DeliveryAttempt,
    DeliveryFilters,
    DeliveryResult,
    DeliveryStatus,
    OutgoingEvent,
)
from pipeline.errors import SupersededError
from pipeline.models import Status
from tests.support.catalogues import Clock, attachment, claimed, failure, finished, mark_stored, stored
from tests.support.webhooks import announced_record, deliveries_of

PENDING, DELIVERED, UNDELIVERED, WITHDRAWN = DeliveryStatus


def claim_deliveries(
    deliveries: Deliveries, endpoint: str = "crm", *, want: int = 10, lease_s: float = 40
) -> list[DeliveryAttempt]:
    return deliveries.record_and_claim(endpoint, [], want=want, lease_s=lease_s).attempts


def report(deliveries: Deliveries, *results: DeliveryResult, endpoint: str = "crm") -> bool:
    """Records results without claiming. Returns whether the circuit is open afterwards."""
    return deliveries.record_and_claim(endpoint, results, want=0, lease_s=40).after.open


def failed(attempt: DeliveryAttempt, retry_in_s: float | None = 5, **more: float | bool) -> DeliveryResult:
    return DeliveryResult(attempt, "the endpoint answered 500", retry_in_s, **more)  # type: ignore[arg-type]


class DeliveriesContract:
    """Subclass it with the fixture `url` (an empty, migrated database)."""

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def catalogue(self, url: str, clock: Clock) -> Catalogue:
        return Catalogue(url, clock=clock)

    @pytest.fixture
    def deliveries(self, catalogue: Catalogue) -> Deliveries:
        return catalogue.deliveries

    # --- added by finish ---

    def test_finish_and_its_deliveries_are_one_transaction(self, catalogue: Catalogue, deliveries: Deliveries) -> None:
        record = announced_record(catalogue, "crm", "logs")
        found = deliveries_of(catalogue, record)
        assert record.status is Status.DONE
        assert {(one.endpoint, one.status, one.attempts) for one in found} == {
            ("crm", PENDING, 0), ("logs", PENDING, 0),
        }  # fmt: skip
        assert len({one.id for one in found}) == 2
        assert {one.event_id for one in found} == {record.id}
        assert [attempt.body for attempt in claim_deliveries(deliveries)] == ['{"caption":"words"}']

    def test_lost_claim_adds_no_delivery(self, catalogue: Catalogue) -> None:
        claim = claimed(catalogue, catalogue.accept(attachment()).id)
        mark_stored(catalogue, claim, stored())
        claimed(catalogue, claim.id, takeover=True)
        with pytest.raises(SupersededError):
            catalogue.finish(claim, announced=True, outgoing=OutgoingEvent("e" * 32, "media.done", "{}", ["crm"]))
        assert catalogue.deliveries.find(DeliveryFilters()) == []

    def test_event_has_one_delivery_for_each_endpoint(self, catalogue: Catalogue) -> None:
        first = announced_record(catalogue, "crm")
        claim = claimed(catalogue, catalogue.accept(attachment()).id)
        catalogue.mark_failed(claim, failure())
        catalogue.finish(claim, announced=True, outgoing=OutgoingEvent(first.id, "media.done", "other", ["crm", "new"]))
        assert catalogue.deliveries.count(DeliveryFilters(endpoint="crm")) == 1
        assert [attempt.body for attempt in claim_deliveries(catalogue.deliveries)] == ['{"caption":"words"}']

    def test_no_delivery_without_endpoints(self, catalogue: Catalogue) -> None:
        finished(catalogue)
        assert catalogue.deliveries.find(DeliveryFilters()) == []

    # --- attempts ---

    def test_claimed_delivery_is_exclusive_until_its_lease_expires(
        self, catalogue: Catalogue, deliveries: Deliveries, clock: Clock
    ) -> None:
        announced_record(catalogue, "crm")
        [mine] = claim_deliveries(deliveries, lease_s=40)
        clock.now += 39
        assert (deliveries.is_due("crm"), claim_deliveries(deliveries)) == (False, [])
        clock.now += 2
        [theirs] = claim_deliveries(deliveries)
        assert (theirs.id, theirs.event_id) == (mine.id, mine.event_id)
        report(deliveries, DeliveryResult(mine))  # too late: it is ignored
        [record] = deliveries.find(DeliveryFilters())
        assert (record.status, record.attempts) == (PENDING, 0)
        report(deliveries, DeliveryResult(theirs))
        [record] = deliveries.find(DeliveryFilters())
        assert (record.status, record.attempts, record.next_at) == (DELIVERED, 1, None)

    def test_deliveries_of_endpoints_are_separate(self, catalogue: Catalogue, deliveries: Deliveries) -> None:
        announced_record(catalogue, "logs")
        assert not deliveries.is_due("crm")
        assert claim_deliveries(deliveries, "crm") == []
        assert len(claim_deliveries(deliveries, "logs")) == 1

    def test_concurrent_claims_return_each_delivery_once(self, catalogue: Catalogue, deliveries: Deliveries) -> None:
        for _ in range(30):
            announced_record(catalogue, "crm")
        with ThreadPoolExecutor(6) as crowd:
            taken = [
                p.id for batch in crowd.map(lambda _: claim_deliveries(deliveries, want=4), range(12)) for p in batch
            ]
        taken += [attempt.id for attempt in claim_deliveries(deliveries, want=30)]
        assert max(Counter(taken).values()) == 1
        assert len(taken) == 30

    def test_oldest_deliveries_are_claimed_first_up_to_the_limit(
        self, catalogue: Catalogue, deliveries: Deliveries, clock: Clock
    ) -> None:
        records = []
        for _ in range(3):
            records.append(announced_record(catalogue, "crm"))
            clock.now += 1
        assert [attempt.media_id for attempt in claim_deliveries(deliveries, want=2)] == [one.id for one in records[:2]]

    def test_failed_attempt_is_retried_after_its_delay(
        self, catalogue: Catalogue, deliveries: Deliveries, clock: Clock
    ) -> None:
        announced_record(catalogue, "crm")
        report(deliveries, failed(claim_deliveries(deliveries)[0], retry_in_s=300))
        [record] = deliveries.find(DeliveryFilters())
        assert (record.status, record.attempts, record.error) == (PENDING, 1, "the endpoint answered 500")
        clock.now += 299
        assert claim_deliveries(deliveries) == []
        clock.now += 1
        assert [attempt.attempts for attempt in claim_deliveries(deliveries)] == [1]

    def test_undelivered_event_is_listed_and_keeps_its_body(self, catalogue: Catalogue, deliveries: Deliveries) -> None:
        announced_record(catalogue, "crm")
        report(deliveries, failed(claim_deliveries(deliveries)[0], retry_in_s=None))
        [record] = deliveries.find(DeliveryFilters(status=UNDELIVERED, endpoint="crm"))
        assert (record.attempts, record.error, record.next_at) == (1, "the endpoint answered 500", None)
        assert deliveries.redeliver([record.id]) == [record.id]
        [attempt] = claim_deliveries(deliveries)
        assert (attempt.body, attempt.attempts, attempt.event_id) == ('{"caption":"words"}', 0, record.event_id)

    def test_delivered_event_is_not_sent_again(self, catalogue: Catalogue, deliveries: Deliveries) -> None:
        announced_record(catalogue, "crm")
        report(deliveries, DeliveryResult(claim_deliveries(deliveries)[0]))
        [record] = deliveries.find(DeliveryFilters())
        assert deliveries.redeliver([record.id, "0" * 32, "x'; --"]) == []
        assert claim_deliveries(deliveries) == []

    def test_released_delivery_is_due_at_once(self, catalogue: Catalogue, deliveries: Deliveries) -> None:
        announced_record(catalogue, "crm")
        deliveries.release(claim_deliveries(deliveries))
        assert [attempt.attempts for attempt in claim_deliveries(deliveries)] == [0]

    # --- the circuit ---

    def test_circuit_opens_after_five_failures_in_a_row(
        self, catalogue: Catalogue, deliveries: Deliveries, clock: Clock
    ) -> None:
        for _ in range(8):
            announced_record(catalogue, "crm")
        attempts = claim_deliveries(deliveries, want=5)
        assert [report(deliveries, failed(attempt, 3600)) for attempt in attempts] == [False] * 4 + [True]
        assert claim_deliveries(deliveries) == []
        assert deliveries.circuit("crm").wait_ms(int(clock.now * 1000)) == 1000
        clock.now += 1
        assert len(claim_deliveries(deliveries)) == 1
        assert claim_deliveries(deliveries) == [], "another process has the probe"
        assert [one.attempts for one in deliveries.find(DeliveryFilters())].count(0) == 3

    def test_concurrent_failures_schedule_a_probe(
        self, catalogue: Catalogue, deliveries: Deliveries, clock: Clock
    ) -> None:
        for _ in range(9):
            announced_record(catalogue, "crm")
        attempts = claim_deliveries(deliveries, want=8)
        with ThreadPoolExecutor(8) as crowd:
            list(crowd.map(lambda attempt: report(deliveries, failed(attempt, 3600)), attempts))
        circuit = deliveries.circuit("crm")
        assert (circuit.failures, circuit.open) == (8, True)
        assert circuit.probe_at is not None
        clock.now += 1
        assert len(claim_deliveries(deliveries)) == 1

    def test_lost_probe_is_repeated_after_its_lease(
        self, catalogue: Catalogue, deliveries: Deliveries, clock: Clock
    ) -> None:
        for _ in range(2):
            announced_record(catalogue, "crm")
        report(deliveries, failed(claim_deliveries(deliveries, want=1)[0], 3600, gone=True))
        clock.now += 1
        assert len(claim_deliveries(deliveries, lease_s=40)) == 1
        clock.now += 41
        assert len(claim_deliveries(deliveries)) == 1

    def test_success_closes_the_circuit_and_makes_failed_deliveries_due(
        self, catalogue: Catalogue, deliveries: Deliveries, clock: Clock
    ) -> None:
        announced_record(catalogue, "crm")
        report(
            deliveries, failed(claim_deliveries(deliveries)[0], 7200)
        )  # failed for its own reason; another one succeeds before the outage
        announced_record(catalogue, "crm")
        report(deliveries, DeliveryResult(claim_deliveries(deliveries)[0]))
        clock.now += 1
        for _ in range(6):
            announced_record(catalogue, "crm")
        report(deliveries, *(failed(attempt, 3600) for attempt in claim_deliveries(deliveries, want=5)))
        assert deliveries.circuit("crm").open
        clock.now += 1
        found = deliveries.record_and_claim(
            "crm", [DeliveryResult(claim_deliveries(deliveries)[0])], want=10, lease_s=40
        )
        assert (found.before.open, found.after.open, deliveries.circuit("crm").failures) == (True, False, 0)
        assert len(found.attempts) == 5, "all but the one that failed before the outage"
        assert {attempt.attempts for attempt in found.attempts} == {1}

    def test_probe_delay_grows_with_the_outage(
        self, catalogue: Catalogue, deliveries: Deliveries, clock: Clock
    ) -> None:
        waits: list[int] = []
        announced_record(catalogue, "crm")
        report(deliveries, failed(claim_deliveries(deliveries, want=1)[0], 1, gone=True))
        while len(waits) < 12:
            announced_record(catalogue, "crm")
            waits.append(deliveries.circuit("crm").wait_ms(int(clock.now * 1000)))
            clock.now += max(waits[-1] / 1000, 25)
            report(deliveries, failed(claim_deliveries(deliveries)[0], 1))
        assert (waits[0], waits[-1]) == (1000, 60_000)
        assert waits == sorted(waits)

    def test_retry_after_delays_the_probe_up_to_a_limit(
        self, catalogue: Catalogue, deliveries: Deliveries, clock: Clock
    ) -> None:
        announced_record(catalogue, "crm")
        report(deliveries, failed(claim_deliveries(deliveries)[0], 1, gone=True, retry_after_s=90_000))
        assert deliveries.circuit("crm").wait_ms(int(clock.now * 1000)) == 600_000

    def test_first_failure_schedules_a_probe(self, catalogue: Catalogue, deliveries: Deliveries) -> None:
        """Another process may record the failure that opens the circuit without having read this one."""
        announced_record(catalogue, "crm")
        assert not report(deliveries, failed(claim_deliveries(deliveries)[0]))
        assert deliveries.circuit("crm").probe_at is not None

    def test_success_between_failures_keeps_the_circuit_closed(
        self, catalogue: Catalogue, deliveries: Deliveries
    ) -> None:
        for _ in range(10):
            announced_record(catalogue, "crm")
            announced_record(catalogue, "crm")
            bad, good = claim_deliveries(deliveries, want=2)
            assert not report(deliveries, failed(bad, 3600), DeliveryResult(good))
        assert deliveries.circuit("crm").failures == 0

    def test_redelivery_probes_an_open_circuit_at_once(
        self, catalogue: Catalogue, deliveries: Deliveries, clock: Clock
    ) -> None:
        announced_record(catalogue, "crm")
        report(deliveries, failed(claim_deliveries(deliveries)[0], None, gone=True))
        assert deliveries.circuit("crm").wait_ms(int(clock.now * 1000))
        [record] = deliveries.find(DeliveryFilters())
        deliveries.redeliver([record.id])
        assert [attempt.id for attempt in claim_deliveries(deliveries)] == [record.id]

    # --- reading and maintenance ---

    def test_endpoint_stats_cover_each_endpoint(
        self, catalogue: Catalogue, deliveries: Deliveries, clock: Clock
    ) -> None:
        announced_record(catalogue, "crm", "old")
        clock.now += 10
        announced_record(catalogue, "crm")
        report(deliveries, failed(claim_deliveries(deliveries, "old")[0], None), endpoint="old")
        found = {one.endpoint: one for one in deliveries.endpoint_stats(["crm", "idle"])}
        assert list(found) == ["crm", "idle", "old"]
        assert (found["crm"].pending, found["crm"].undelivered, found["crm"].oldest_s) == (2, 0, 10)
        assert (found["old"].pending, found["old"].undelivered, found["old"].circuit.failures) == (0, 1, 1)
        assert (found["idle"].pending, found["idle"].circuit.open) == (0, False)

    def test_find_filters_and_pages_deliveries(
        self, catalogue: Catalogue, deliveries: Deliveries, clock: Clock
    ) -> None:
        for number in range(5):
            announced_record(catalogue, "crm", session=f"s{number % 2}")
            clock.now += 1
        assert deliveries.count(DeliveryFilters(session="s0")) == 3
        first = deliveries.find(DeliveryFilters(endpoint="crm"), limit=3)
        rest = deliveries.find(DeliveryFilters(endpoint="crm"), limit=3, after=(first[-1].created_at, first[-1].id))
        seen = [one.created_at for one in (*first, *rest)]
        assert (len(seen), seen) == (5, sorted(seen, reverse=True))
        assert deliveries.count(DeliveryFilters(since=int((clock.now - 2.5) * 1000))) == 2

    def test_give_up_skips_deliveries_in_progress(
        self, catalogue: Catalogue, deliveries: Deliveries, clock: Clock
    ) -> None:
        announced_record(catalogue, "crm")
        announced_record(catalogue, "crm")
        clock.now += 100
        announced_record(catalogue, "crm")
        claim_deliveries(deliveries, want=1)
        assert deliveries.give_up("crm", older_than_s=50, why="there is no endpoint crm") == 1
        [record] = deliveries.find(DeliveryFilters(status=UNDELIVERED))
        assert (record.error, record.next_at) == ("there is no endpoint crm", None)
        assert deliveries.count(DeliveryFilters(status=PENDING)) == 2

    def test_trim_deletes_old_delivered_rows(self, catalogue: Catalogue, deliveries: Deliveries, clock: Clock) -> None:
        for _ in range(3):
            announced_record(catalogue, "crm")
        well, bad, _ = claim_deliveries(deliveries)
        report(deliveries, DeliveryResult(well), failed(bad, None))
        clock.now += 1000
        announced_record(catalogue, "crm")
        report(deliveries, DeliveryResult(claim_deliveries(deliveries, want=1)[0]))
        assert deliveries.trim(older_than_s=500) == 1
        assert deliveries.get(well.id) is None
        assert deliveries.count(DeliveryFilters()) == 3

    def test_fix_due_times_repairs_times_of_a_wrong_clock(
        self, catalogue: Catalogue, deliveries: Deliveries, clock: Clock
    ) -> None:
        right = clock.now
        clock.now += 10 * 365 * 86_400
        announced_record(catalogue, "crm")
        announced_record(catalogue, "crm")
        claim_deliveries(deliveries, want=1)
        clock.now = right
        assert claim_deliveries(deliveries) == []
        announced_record(catalogue, "crm")
        [tried] = claim_deliveries(deliveries)
        report(deliveries, failed(tried, 300))
        assert deliveries.fix_due_times(lease_s=40) == 2
        assert len(claim_deliveries(deliveries)) == 2
        assert deliveries.fix_due_times(lease_s=40) == 0

    def test_deletion_withdraws_deliveries_and_clears_their_texts(
        self, catalogue: Catalogue, deliveries: Deliveries
    ) -> None:
        record, other = announced_record(catalogue, "crm", "logs"), announced_record(catalogue, "crm")
        report(deliveries, DeliveryResult(claim_deliveries(deliveries, "logs")[0]), endpoint="logs")
        [under_way] = [attempt for attempt in claim_deliveries(deliveries) if attempt.media_id == record.id]
        catalogue.deletions.start(record.id)
        found = {one.endpoint: one for one in deliveries_of(catalogue, record)}
        assert found["logs"].status is DELIVERED
        assert (found["crm"].status, found["crm"].error) == (WITHDRAWN, "the attachment was deleted")
        report(deliveries, failed(under_way, 1))
        assert deliveries_of(catalogue, record)[0].next_at is None
        assert deliveries.redeliver([one.id for one in found.values()]) == []
        assert deliveries.count(DeliveryFilters(status=PENDING)) == 1
        assert deliveries_of(catalogue, other)[0].status is PENDING

    def test_deletion_withdraws_undelivered_events(
        self, catalogue: Catalogue, deliveries: Deliveries, clock: Clock
    ) -> None:
        record = announced_record(catalogue, "crm")
        report(deliveries, failed(claim_deliveries(deliveries)[0], None))
        assert [one.undelivered for one in deliveries.endpoint_stats(["crm"])] == [1]
        catalogue.deletions.start(record.id)
        assert [one.undelivered for one in deliveries.endpoint_stats(["crm"])] == [0]
        assert [one.status for one in deliveries_of(catalogue, record)] == [WITHDRAWN]
        clock.now += 1000
        assert deliveries.trim(older_than_s=500) == 1
        assert deliveries_of(catalogue, record) == []
