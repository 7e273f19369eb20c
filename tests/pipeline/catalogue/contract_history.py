"""Tests of the history that every database must pass."""

from __future__ import annotations

import pytest

from pipeline.catalogue import Catalogue
from pipeline.catalogue.statements import MAX_HISTORY
from pipeline.errors import Code, RetryableError, SupersededError
from pipeline.history import HistoryOutcome
from pipeline.models import Claim, Stage, Status
from pipeline.models.replacement_source import NewSource
from tests.support.catalogues import attachment, claimed, failure, mark_stored, stored

TROUBLE = RetryableError(Code.FETCH_TIMEOUT, "media.example was silent for 15 s \0 \ud800 ção")


def record_attempt(
    claim: Claim, stage: Stage, outcome: HistoryOutcome = HistoryOutcome.DONE, *, attempt: int = 1, message: str = ""
) -> None:
    claim.attempt_log.start(stage.value, attempt)
    claim.attempt_log.finish(outcome, code="fetch_timeout" if message else None, message=message or None)


def history_of(catalogue: Catalogue, media_id: str) -> list[tuple[int, str, int, str]]:
    return [(entry.run, entry.stage, entry.attempt, entry.outcome) for entry in catalogue.history(media_id)]


class HistoryContract:
    """Subclass it with the fixture `url`: an empty, migrated database."""

    @pytest.fixture
    def catalogue(self, url: str) -> Catalogue:
        return Catalogue(url)

    @pytest.fixture
    def media_id(self, catalogue: Catalogue) -> str:
        return catalogue.accept(attachment()).id

    def test_new_attachment_has_no_history(self, catalogue: Catalogue, media_id: str) -> None:
        assert catalogue.history(media_id) == catalogue.history("0" * 32) == catalogue.history("' OR 1=1 --") == []

    def test_each_write_appends_the_pending_entries(self, catalogue: Catalogue, media_id: str) -> None:
        claim = claimed(catalogue, media_id)
        record_attempt(claim, Stage.FETCH, HistoryOutcome.RETRY, message=TROUBLE.message)
        catalogue.release(claim, stage=Stage.FETCH, attempts=1, error=TROUBLE)
        claim = claimed(catalogue, media_id)
        record_attempt(claim, Stage.FETCH, attempt=2)
        claim.attempt_log.start("persist", 1)
        mark_stored(catalogue, claim, stored())
        claim.attempt_log.finish(HistoryOutcome.DONE)
        claim.attempt_log.start("notify", 1)
        catalogue.finish(claim, announced=True)
        claim.attempt_log.finish(HistoryOutcome.DONE)
        assert history_of(catalogue, media_id) == [
            (0, "fetch", 1, "retry"),
            (0, "fetch", 2, "done"),
            (0, "persist", 1, "done"),
            (0, "notify", 1, "done"),
        ]
        assert catalogue.history(media_id)[0].message == "media.example was silent for 15 s \ufffd ? ção"
        assert claim.attempt_log.pending_lines() == ""

    def test_repeated_failure_is_recorded_once(self, catalogue: Catalogue, media_id: str) -> None:
        claim = claimed(catalogue, media_id)
        for _ in range(2):
            catalogue.mark_failed(claim, failure(code=Code.POISON, message="3 workers died"))
        catalogue.finish(claim, announced=False)
        assert history_of(catalogue, media_id) == [(0, "fetch", 3, "failed")]
        assert [entry.code for entry in catalogue.history(media_id)] == ["poison"]

    def test_cancellation_is_in_the_history(self, catalogue: Catalogue, media_id: str) -> None:
        claim = claimed(catalogue, media_id)
        catalogue.mark_failed(claim, failure(Status.REJECTED, code=Code.CANCELLED, message="it was cancelled"))
        assert history_of(catalogue, media_id) == [(0, "fetch", 3, "cancelled")]

    def test_replay_is_in_the_history_with_its_run(self, catalogue: Catalogue, media_id: str) -> None:
        for new in (None, NewSource(url="https://media.example/again")):
            claim = claimed(catalogue, media_id)
            catalogue.mark_failed(claim, failure(Status.EXPIRED))
            catalogue.finish(claim, announced=True)
            catalogue.reopen(media_id, source=new)
        record_attempt(claimed(catalogue, media_id), Stage.FETCH)
        assert [entry[0::3] for entry in history_of(catalogue, media_id)] == [
            (0, "expired"),
            (1, "replayed"),
            (1, "expired"),
            (2, "replayed"),
        ]
        assert [entry.message for entry in catalogue.history(media_id)][1::2] == [None, "with a new source"]

    def test_lost_claim_writes_no_history(self, catalogue: Catalogue, media_id: str) -> None:
        lost = claimed(catalogue, media_id)
        held = claimed(catalogue, media_id, takeover=True)
        record_attempt(lost, Stage.FETCH)
        for use in (
            lambda: mark_stored(catalogue, lost, stored()),
            lambda: catalogue.mark_failed(lost, failure()),
            lambda: catalogue.release(lost, stage=Stage.FETCH, attempts=1, error=TROUBLE),
            lambda: catalogue.finish(lost, announced=True),
        ):
            with pytest.raises(SupersededError):
                use()
        assert catalogue.history(media_id) == []
        mark_stored(catalogue, held, stored())
        catalogue.finish(held, announced=True)
        assert catalogue.history(media_id) == []

    def test_history_is_limited_and_keeps_the_newest(self, catalogue: Catalogue, media_id: str) -> None:
        longest = 0
        for attempt in range(1, 400):
            claim = claimed(catalogue, media_id)
            record_attempt(claim, Stage.FETCH, HistoryOutcome.RETRY, attempt=attempt, message=f"{attempt} " + "é" * 500)
            catalogue.release(claim, stage=Stage.FETCH, attempts=attempt, error=None)
            longest = max(longest, sum(len(entry.line()) for entry in catalogue.history(media_id)))
        attempts = [entry.attempt for entry in catalogue.history(media_id)]
        assert MAX_HISTORY / 2 < longest < MAX_HISTORY + 1000
        assert attempts == list(range(attempts[0], 400))
        assert len(attempts) > 50

    def test_deletion_clears_the_history(self, catalogue: Catalogue, media_id: str) -> None:
        claim = claimed(catalogue, media_id)
        catalogue.mark_failed(claim, failure())
        catalogue.finish(claim, announced=True)
        assert catalogue.history(media_id)
        catalogue.deletions.start(media_id)
        assert catalogue.history(media_id) == []
