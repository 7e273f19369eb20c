"""Claims, writes, takeovers and replays in any order: one holder may write, and all events are counted."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pipeline.catalogue import Catalogue, Filters
from pipeline.errors import Code, PermanentError, RetryableError, SupersededError
from pipeline.models import Claim, Record, Refusal, Stage, Status
from pipeline.models.replacement_source import NewSource
from tests.support.catalogues import Clock, attachment, failure, mark_stored, stored

ATTACHMENTS = 2
LEASE_S = 60
ENDINGS = [Status.REJECTED, Status.FAILED, Status.EXPIRED]
TROUBLE = RetryableError(Code.STORAGE, "storage cannot be written: No space left on device")


class Claims(RuleBasedStateMachine):
    """Simulates workers on two attachments, with a model of which claim is live."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.clock = Clock()
        self.catalogue = Catalogue(f"sqlite:///{Path(self.folder.name)}/catalogue.db", clock=self.clock)
        self.catalogue.migrate()
        self.attachments = [attachment() for _ in range(ATTACHMENTS)]
        self.live: dict[str, tuple[str, float]] = {}  # id → live token, end of its lease
        self.given: list[Claim] = []
        self.finished: dict[str, Record] = {}
        self.events: Counter[str] = Counter()

    def teardown(self) -> None:
        if hasattr(self, "catalogue"):
            self.catalogue.close()
            self.folder.cleanup()

    @rule(which=st.integers(0, ATTACHMENTS - 1))
    def accept(self, which: int) -> None:
        known = self.catalogue.get(self.attachments[which].id)
        fresh = self.catalogue.accept(self.attachments[which]).fresh
        assert fresh == (known is None)
        self.events["received" if fresh else "duplicates"] += 1

    @rule(which=st.integers(0, ATTACHMENTS - 1), takeover=st.booleans())
    def claim(self, which: int, takeover: bool) -> None:
        media_id = self.attachments[which].id
        record = self.catalogue.get(media_id)
        answer = self.catalogue.claim(media_id, lease_s=LEASE_S, takeover=takeover)
        if record is None:
            assert answer is Refusal.UNKNOWN
        elif record.finished_at is not None:
            assert answer is Refusal.ENDED
        elif media_id in self.live and self.live[media_id][1] >= self.clock.now and not takeover:
            assert answer is Refusal.HELD
        else:
            assert isinstance(answer, Claim)
            self.live[media_id] = (answer.token, self.clock.now + LEASE_S)
            self.given.append(answer)

    @rule(seconds=st.sampled_from([1, 59, 60, 61, 200]))
    def pass_time(self, seconds: int) -> None:
        self.clock.now += seconds

    @rule()
    def renew(self) -> None:
        self.catalogue.renew([claim.token for claim in self.given], lease_s=LEASE_S)
        self.live = {media_id: (token, self.clock.now + LEASE_S) for media_id, (token, _) in self.live.items()}

    @precondition(lambda self: self.given)
    @rule(data=st.data(), failed=st.booleans(), attempts=st.integers(0, 3))
    def release(self, data: st.DataObject, failed: bool, attempts: int) -> None:
        def write(claim: Claim) -> None:
            self.catalogue.release(claim, stage=Stage.DETECT, attempts=attempts, error=TROUBLE if failed else None)

        if self.write(data, write):
            self.events["retried"] += failed
            del self.live[self.last.id]

    @precondition(lambda self: self.given)
    @rule(data=st.data())
    def store(self, data: st.DataObject) -> None:
        before = self.statuses()
        if self.write(data, lambda claim: mark_stored(self.catalogue, claim, stored())):
            self.events["stored"] += before[self.last.id] is Status.RECEIVED

    @precondition(lambda self: self.given)
    @rule(data=st.data(), status=st.sampled_from(ENDINGS), stage=st.sampled_from(Stage))
    def end(self, data: st.DataObject, status: Status, stage: Stage) -> None:
        self.write(
            data, lambda claim: self.catalogue.mark_failed(claim, failure(status, stage, inputs={"at": stage.value}))
        )

    @precondition(lambda self: self.given)
    @rule(data=st.data(), announced=st.booleans())
    def finish(self, data: st.DataObject, announced: bool) -> None:
        before = self.statuses()

        def write(claim: Claim) -> Record | None:
            try:
                return self.catalogue.finish(claim, announced=announced)
            except PermanentError:
                assert before[claim.id] is Status.RECEIVED or (before[claim.id] is Status.STORED and not announced)
                return None

        record = self.write(data, write)
        if isinstance(record, Record):
            self.events[record.status.value] += 1
            self.finished[record.id] = record
            del self.live[record.id]

    @rule(
        which=st.integers(0, ATTACHMENTS - 1), source=st.none() | st.just(NewSource(url="https://media.example/again"))
    )
    def reopen(self, which: int, source: NewSource | None) -> None:
        media_id = self.attachments[which].id
        last = self.finished.get(media_id)
        record = self.catalogue.reopen(media_id, source=source)
        assert (record is None) == (last is None or last.status is Status.DONE)
        if record and last:
            assert record.run == last.run + 1
            del self.finished[media_id]

    def write(self, data: st.DataObject, write: Any) -> Any:
        """Writes with any claim that was ever granted. It must succeed only for the live one; None if it fails."""
        self.last = data.draw(st.sampled_from(self.given), label="claim")
        alive = self.live.get(self.last.id, ("", 0.0))[0] == self.last.token
        before = [self.catalogue.get(each.id) for each in self.attachments]
        try:
            answer = write(self.last)
        except SupersededError:
            assert not alive
            assert before == [self.catalogue.get(each.id) for each in self.attachments]
            return None
        assert alive
        return answer if answer is not None else True

    def statuses(self) -> dict[str, Status]:
        return {record.id: record.status for record in self.catalogue.find(Filters())}

    @invariant()
    def finished_rows_stay_as_they_are(self) -> None:
        for media_id, record in getattr(self, "finished", {}).items():
            assert self.catalogue.get(media_id) == record

    @invariant()
    def counts_equal_the_events(self) -> None:
        if hasattr(self, "catalogue"):
            assert {name: n for name, n in self.catalogue.totals().items() if n} == dict(+self.events)

    @invariant()
    def unfinished_lists_unclaimed_attachments(self) -> None:
        if not hasattr(self, "catalogue"):
            return
        held = {media_id for media_id, (_, until) in self.live.items() if until >= self.clock.now}
        known = {record.id for record in self.catalogue.find(Filters())}
        found = set(self.catalogue.unfinished(older_than_s=0))
        assert found == known - held - set(self.finished)


TestClaims = Claims.TestCase
TestClaims.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
