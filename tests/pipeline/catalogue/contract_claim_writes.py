"""Tests of batched writes under claims that every database must pass."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from pipeline.catalogue import Catalogue, DeliveryFilters, Filters, FinishRequest, OutgoingEvent, Preview, PreviewState
from pipeline.errors import CancelledError, Code, PermanentError, PipelineError, RetryableError, SupersededError
from pipeline.history import HistoryOutcome
from pipeline.models import Claim, Kind, Record, Stage, Status, Stored, StoredRecord
from tests.support.catalogues import SHA256, Clock, attachment, claimed, counted, failure, mark_stored, stored

TROUBLE = RetryableError(Code.FETCH_TIMEOUT, "media.example was silent for 15 s")
TOO_WIDE = 2**70  # pixels, more than a column holds


def outgoing(claim: Claim) -> OutgoingEvent:
    return OutgoingEvent(f"event-{claim.id}", "media.done", "{}", ["shop", "office"])


def summaries(outcomes: list[Record | PipelineError]) -> list[object]:
    """The status of each, or the class of its error."""
    return [outcome.status if isinstance(outcome, Record) else type(outcome) for outcome in outcomes]


def too_wide() -> Stored:
    """Content with a width that no column holds. The model refuses it too, so it is set without validation."""
    content = stored()
    facts = content.validated.facts.model_copy(update={"width": TOO_WIDE})
    return content.model_copy(update={"validated": content.validated.model_copy(update={"facts": facts})})


def store_concurrently(catalogue: Catalogue, *orders: list[Claim]) -> list[object]:
    """The results of threads that store the same attachments at the same time in different orders."""
    barrier = Barrier(len(orders))

    def move(order: list[Claim]) -> list[object]:
        barrier.wait(30)
        return summaries(catalogue.mark_stored_many([(claim, stored()) for claim in order]))

    with ThreadPoolExecutor(len(orders)) as pool:
        return [one for outcomes in pool.map(move, orders) for one in outcomes]


class ClaimWritesContract:
    """Subclass it with the fixture `url` (an empty, migrated database)."""

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def catalogue(self, url: str, clock: Clock) -> Catalogue:
        return Catalogue(url, clock=clock)

    @pytest.fixture
    def claims(self, catalogue: Catalogue) -> list[Claim]:
        """Six claims, not in the order of their ids."""
        made = [claimed(catalogue, catalogue.accept(attachment(message_id=f"m{n}")).id) for n in range(6)]
        return sorted(made, key=lambda claim: claim.id[::-1])

    def test_batch_writes_the_same_rows_as_single_writes(
        self, catalogue: Catalogue, clock: Clock, claims: list[Claim]
    ) -> None:
        clock.now += 1
        facts = {"animated": True, "flags": ("macros", "encrypted")}
        several = catalogue.mark_stored_many([(claim, stored(width=n, **facts)) for n, claim in enumerate(claims)])
        assert [Record.model_validate(dict(r)) for r in several if isinstance(r, Record)] == [
            catalogue.get(claim.id) for claim in claims
        ]
        assert all(isinstance(record, StoredRecord) for record in several)
        assert [(r.id, r.width, r.status) for r in several if isinstance(r, Record)] == [
            (claim.id, n, Status.STORED) for n, claim in enumerate(claims)
        ]
        clock.now += 1
        done = catalogue.finish_many([FinishRequest(claim, announced=True) for claim in claims])
        assert done == [catalogue.get(claim.id) for claim in claims]
        assert summaries(done) == [Status.DONE] * 6
        assert counted(catalogue.totals()) == {"stored": 6, "done": 6}

    def test_stored_record_equals_the_row(self, catalogue: Catalogue, clock: Clock) -> None:
        full = attachment(
            kind="video", mimetype="video/mp4", filename="a.mp4", caption="olá", chat="c", sender="s", size=9, part=3,
            expires_at=1_700_009_999,
        )  # fmt: skip
        catalogue.accept(full)
        claim = claimed(catalogue, full.id)
        catalogue.release(claim, stage=Stage.VALIDATE, attempts=2, error=TROUBLE)
        clock.now += 5
        record = mark_stored(catalogue, claimed(catalogue, full.id), stored(duration_ms=5, pages=2))
        assert isinstance(record, StoredRecord)
        assert not record.has_preview
        found = catalogue.get(full.id)
        assert found
        assert {**dict(found), "has_preview": False} == dict(record)
        assert record.model_fields_set == StoredRecord.model_fields.keys()
        assert (type(record.kind), type(record.status), type(record.stage)) == (Kind, Status, Stage)
        assert StoredRecord.model_validate_json(record.model_dump_json()) == record

    def test_stored_record_knows_whether_a_preview_exists(self, catalogue: Catalogue, claims: list[Claim]) -> None:
        first = mark_stored(catalogue, claims[0], stored())
        catalogue.previews.save(Preview(sha256=SHA256, state=PreviewState.NONE))
        second = mark_stored(catalogue, claims[1], stored())
        assert [one.has_preview for one in (first, second) if isinstance(one, StoredRecord)] == [False, True]

    def test_record_of_finish_equals_the_row(self, catalogue: Catalogue, clock: Clock, claims: list[Claim]) -> None:
        stored_ones = catalogue.mark_stored_many([(claim, stored(flags=("macros",))) for claim in claims])
        known = [claim.model_copy(update={"record": row}) for claim, row in zip(claims, stored_ones, strict=True)]
        clock.now += 7
        catalogue.mark_failed(claims[1], failure(stage=Stage.NOTIFY, code=Code.NOTIFY))
        claimed(catalogue, claims[2].id, takeover=True)
        outcomes = catalogue.finish_many([FinishRequest(claim, announced=True) for claim in known])
        assert summaries(outcomes) == [Status.DONE, Status.FAILED, SupersededError, *[Status.DONE] * 3]
        for claim, outcome in zip(claims, outcomes, strict=True):
            if isinstance(outcome, Record):
                assert type(outcome) is Record
                assert outcome == catalogue.get(claim.id)
        assert counted(catalogue.totals()) == {"stored": 6, "done": 4, "failed": 1}

    def test_empty_batch_writes_nothing(self, catalogue: Catalogue) -> None:
        assert (catalogue.mark_stored_many([]), catalogue.finish_many([])) == ([], [])
        assert counted(catalogue.totals()) == {}

    def test_cancelled_or_superseded_item_does_not_affect_the_batch(
        self, catalogue: Catalogue, claims: list[Claim]
    ) -> None:
        catalogue.cancellations.request(claims[1].id)
        claimed(catalogue, claims[3].id, takeover=True)
        catalogue.mark_failed(claims[4], failure(Status.REJECTED))
        outcomes = catalogue.mark_stored_many([(claim, stored()) for claim in claims])
        first = Status.STORED
        assert summaries(outcomes) == [first, CancelledError, first, SupersededError, Status.REJECTED, first]
        assert counted(catalogue.totals()) == {"stored": 3}
        outcomes = catalogue.finish_many([FinishRequest(claim, announced=True) for claim in claims])
        done = Status.DONE
        assert summaries(outcomes) == [done, PermanentError, done, SupersededError, Status.REJECTED, done]
        assert counted(catalogue.totals()) == {"stored": 3, "done": 3, "rejected": 1}

    def test_item_that_the_database_refuses_fails_alone(self, catalogue: Catalogue, claims: list[Claim]) -> None:
        moves = [(claim, too_wide() if n == 2 else stored(width=n)) for n, claim in enumerate(claims)]
        outcomes = catalogue.mark_stored_many(moves)
        assert summaries(outcomes) == [Status.STORED, Status.STORED, PermanentError, *[Status.STORED] * 3]
        assert isinstance(outcomes[2], PermanentError)
        assert outcomes[2].code == Code.CATALOGUE
        with pytest.raises(PermanentError, match="cannot hold"):
            mark_stored(catalogue, claims[2], too_wide())
        assert counted(catalogue.totals()) == {"stored": 5}
        assert catalogue.count(Filters(status=Status.RECEIVED)) == 1

    def test_each_status_has_its_own_counter(self, catalogue: Catalogue, claims: list[Claim]) -> None:
        for claim, status in zip(claims, (Status.FAILED, Status.REJECTED, Status.REJECTED), strict=False):
            catalogue.mark_failed(claim, failure(status))
        catalogue.mark_stored_many([(claim, stored()) for claim in claims[3:]])
        outcomes = catalogue.finish_many([FinishRequest(claim, announced=n != 1) for n, claim in enumerate(claims)])
        assert [r.announced_at is not None for r in outcomes if isinstance(r, Record)] == [True, False, *[True] * 4]
        assert Counter(summaries(outcomes)) == {Status.DONE: 3, Status.REJECTED: 2, Status.FAILED: 1}
        assert counted(catalogue.totals()) == {"stored": 3, "done": 3, "rejected": 2, "failed": 1}

    def test_finish_adds_the_deliveries_of_finished_items(self, catalogue: Catalogue, claims: list[Claim]) -> None:
        catalogue.mark_stored_many([(claim, stored()) for claim in claims])
        claimed(catalogue, claims[0].id, takeover=True)
        catalogue.finish_many([FinishRequest(claim, announced=True, outgoing=outgoing(claim)) for claim in claims[:3]])
        written = Counter(found.media_id for found in catalogue.deliveries.find(DeliveryFilters()))
        assert written == {claims[1].id: 2, claims[2].id: 2}

    def test_repeated_item_is_written_once(self, catalogue: Catalogue, claims: list[Claim]) -> None:
        twice = [(claims[0], stored(width=1)), (claims[0], stored(width=2))]
        outcomes = catalogue.mark_stored_many(twice)
        assert [r.width for r in outcomes if isinstance(r, Record)] == [1, 1]
        outcomes = catalogue.finish_many([FinishRequest(claims[0], announced=True)] * 2)
        assert summaries(outcomes) == [Status.DONE, SupersededError]
        assert counted(catalogue.totals()) == {"stored": 1, "done": 1}

    def test_each_item_writes_its_own_history_once(self, catalogue: Catalogue, claims: list[Claim]) -> None:
        claimed(catalogue, claims[1].id, takeover=True)
        for claim in claims[:3]:
            claim.attempt_log.start("persist", 1)
        catalogue.mark_stored_many([(claim, stored()) for claim in claims[:3]])
        for claim in claims[:3]:
            claim.attempt_log.finish(HistoryOutcome.DONE)
            claim.attempt_log.start("notify", 1)
        catalogue.finish_many([FinishRequest(claim, announced=True) for claim in claims[:3]])
        told = [[entry.stage for entry in catalogue.history(claim.id)] for claim in claims[:3]]
        assert told == [["persist", "notify"], [], ["persist", "notify"]]
        assert claims[1].attempt_log.pending_lines(), "what was not written waits for the next write"

    def test_batches_with_the_same_rows_do_not_deadlock(self, catalogue: Catalogue) -> None:
        for _ in range(5):
            claims = [claimed(catalogue, catalogue.accept(attachment()).id) for _ in range(30)]
            assert store_concurrently(catalogue, claims, claims[::-1]) == [Status.STORED] * 60
        assert counted(catalogue.totals()) == {"stored": 150}

    def test_unreachable_database_is_an_error_of_each_item(
        self, catalogue: Catalogue, claims: list[Claim], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        trouble = RetryableError(Code.CATALOGUE, "the catalogue closed the connection")

        def away(*_: object, **__: object) -> None:
            raise trouble

        with monkeypatch.context() as patched:
            patched.setattr("pipeline.catalogue.database.Database.write", away)
            assert catalogue.mark_stored_many([(claim, stored()) for claim in claims]) == [trouble] * 6
            with pytest.raises(RetryableError, match="closed the connection"):
                catalogue.finish(claims[0], announced=True)
        assert summaries(catalogue.mark_stored_many([(claims[0], stored())])) == [Status.STORED]
