"""Tests of the catalogue that every database must pass."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.catalogue import Catalogue, Filters, Pause
from pipeline.errors import CancelledError, Code, PermanentError, RetryableError, SupersededError
from pipeline.models import Claim, Kind, Record, Refusal, Stage, Status
from pipeline.models.replacement_source import NewSource
from tests.support.catalogues import (
    MEDIA_KEY,
    SHA256,
    Clock,
    attachment,
    claimed,
    counted,
    failure,
    finished,
    mark_stored,
    stored,
)

NEVER = "0" * 32
TROUBLE = RetryableError(Code.FETCH_TIMEOUT, "media.example was silent for 15 s")


class CatalogueContract:
    """Subclass it with the fixtures `url` (an empty, migrated database) and `clock`."""

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def catalogue(self, url: str, clock: Clock) -> Catalogue:
        return Catalogue(url, clock=clock)

    # --- accept ---

    def test_accept_stores_the_declared_fields(self, catalogue: Catalogue, clock: Clock) -> None:
        given_ = attachment(
            kind="ptt", mimetype="audio/ogg; codecs=opus", filename="a.ogg", caption="olá \0 \ud800 🎧", chat="c@g.us",
            sender="s@c.us", part=2, gateway="wppconnect", message_id="true_1@c.us_3EB0",
        )  # fmt: skip
        accepted = catalogue.accept(given_)
        assert (accepted.id, accepted.status, accepted.fresh) == (given_.id, Status.RECEIVED, True)
        assert catalogue.get(given_.id) == Record(
            id=given_.id, gateway="wppconnect", session="shop", message_id="true_1@c.us_3EB0", part=2, chat="c@g.us",
            sender="s@c.us", status=Status.RECEIVED, stage=Stage.FETCH, kind=Kind.PTT, declared_kind=Kind.PTT,
            declared_mime="audio/ogg; codecs=opus", filename="a.ogg", caption="olá \ufffd ? 🎧",
            received_at=int(clock.now * 1000),
        )  # fmt: skip

    def test_repeated_message_returns_the_state_and_changes_nothing(self, catalogue: Catalogue, clock: Clock) -> None:
        given_ = attachment(caption="first")
        catalogue.accept(given_)
        before = catalogue.get(given_.id)
        clock.now += 5
        repeat = catalogue.accept(given_.model_copy(update={"caption": "second"}))
        assert (repeat.fresh, repeat.status) == (False, Status.RECEIVED)
        assert catalogue.get(given_.id) == before
        finished(catalogue, of=(other := attachment()))
        assert catalogue.accept(other).status is Status.DONE
        assert (catalogue.totals()["received"], catalogue.totals()["duplicates"]) == (2, 2)

    @pytest.mark.parametrize("intake", [False, True])
    def test_row_of_a_version_without_identities_is_recognised(self, catalogue: Catalogue, intake: bool) -> None:
        old = attachment(gateway="waha", message_id="false_5581@c.us_3EB0")
        new = old.model_copy(update={"identity": "false::3EB0"})
        assert new.former_id == old.id != new.id
        catalogue.accept(old, intake=intake)
        repeat = catalogue.accept(new, intake=intake)
        assert (repeat.id, repeat.status, repeat.fresh) == (old.id, Status.RECEIVED, False)
        assert catalogue.get(new.id) is None
        finished(catalogue, of=(other := attachment(message_id="true_5581@c.us_3EB1")))
        assert catalogue.accept(other.model_copy(update={"identity": "true::3EB1"})).status is Status.DONE
        assert (catalogue.totals()["received"], catalogue.totals()["duplicates"]) == (2, 2)

    def test_attachment_of_a_claim_keeps_its_identity(self, catalogue: Catalogue) -> None:
        given_ = attachment(message_id="false_5581@c.us_3EB0", identity="false::3EB0", sender_number="5581")
        accepted = catalogue.accept(given_)
        claim = claimed(catalogue, accepted.id)
        assert claim.attachment.id == claim.record.id == accepted.id
        assert (claim.record.chat_number, claim.record.sender_number) == (None, "5581")

    def test_concurrent_duplicates_make_one_row(self, catalogue: Catalogue) -> None:
        given_ = attachment()
        with ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(lambda _: catalogue.accept(given_), range(100)))
        assert sum(answer.fresh for answer in answers) == 1
        assert catalogue.count(Filters()) == 1
        assert catalogue.totals()["received"] == 1
        assert catalogue.totals()["duplicates"] == 99

    # --- claims ---

    def test_claim_contains_what_the_stages_need(self, catalogue: Catalogue) -> None:
        given_ = attachment(media_key=MEDIA_KEY, direct_path="/v/t", data="aGVsbG8=", url=None, size=5)
        claim = claimed(catalogue, catalogue.accept(given_, intake=True).id)
        assert claim.attachment == given_.model_copy(update={"data": None})
        assert (claim.record.status, claim.intake, claim.inputs) == (Status.RECEIVED, True, None)

    def test_claim_is_exclusive_until_its_lease_expires(self, catalogue: Catalogue, clock: Clock) -> None:
        media_id = catalogue.accept(attachment()).id
        first = claimed(catalogue, media_id, lease_s=60)
        assert catalogue.claim(media_id, lease_s=60) is Refusal.HELD
        clock.now += 61
        second = claimed(catalogue, media_id, lease_s=60)
        assert second.token != first.token
        with pytest.raises(SupersededError):
            mark_stored(catalogue, first, stored())

    def test_takeover_ends_the_other_claim(self, catalogue: Catalogue) -> None:
        media_id = catalogue.accept(attachment()).id
        lost = claimed(catalogue, media_id)
        held = claimed(catalogue, media_id, takeover=True)
        before = catalogue.get(media_id), catalogue.totals()
        for use in uses(catalogue, lost):
            with pytest.raises(SupersededError):
                use()
        assert (catalogue.get(media_id), catalogue.totals()) == before
        assert mark_stored(catalogue, held, stored()).status is Status.STORED

    @pytest.mark.parametrize("heir_of", ["", "nonsense", "\0", "\ud800", f"{NEVER}.{'0' * 16}"])
    def test_previous_token_takes_over_only_the_claim_with_that_token(self, catalogue: Catalogue, heir_of: str) -> None:
        media_id = catalogue.accept(attachment()).id
        first = claimed(catalogue, media_id)
        assert catalogue.claim(media_id, lease_s=60, previous_token=heir_of) is Refusal.HELD
        second = catalogue.claim(media_id, lease_s=60, previous_token=first.token)
        assert isinstance(second, Claim)
        assert catalogue.claim(media_id, lease_s=60, previous_token=first.token) is Refusal.HELD
        with pytest.raises(SupersededError):
            mark_stored(catalogue, first, stored())

    def test_concurrent_claims_succeed_once(self, catalogue: Catalogue) -> None:
        ids = [catalogue.accept(attachment()).id for _ in range(5)]
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda n: catalogue.claim(ids[n % 5], lease_s=60), range(80)))
        given_ = [answer for answer in answers if isinstance(answer, Claim)]
        assert sorted(claim.id for claim in given_) == sorted(ids)

    @pytest.mark.parametrize("media_id", [NEVER, "", "no id", "' OR 1=1 --", "\0", "\ud800", "A" * 32])
    def test_claim_of_an_unknown_id_is_refused(self, catalogue: Catalogue, media_id: str) -> None:
        assert catalogue.claim(media_id, lease_s=60, takeover=True) is Refusal.UNKNOWN
        assert catalogue.get(media_id) is None
        assert catalogue.reopen(media_id) is None

    def test_finished_attachment_cannot_be_claimed(self, catalogue: Catalogue) -> None:
        assert catalogue.claim(finished(catalogue).id, lease_s=60, takeover=True) is Refusal.ENDED

    def test_renew_extends_live_claims_only(self, catalogue: Catalogue, clock: Clock) -> None:
        kept, lost = (catalogue.accept(attachment()).id for _ in range(2))
        tokens = [claimed(catalogue, media_id, lease_s=60).token for media_id in (kept, lost)]
        taken = claimed(catalogue, lost, lease_s=10, takeover=True)
        clock.now += 50
        catalogue.renew([*tokens, "nonsense"], lease_s=60)
        catalogue.renew([], lease_s=60)
        clock.now += 50
        assert catalogue.claim(kept, lease_s=60) is Refusal.HELD
        assert claimed(catalogue, lost).token != taken.token

    def test_release_records_the_attempt_and_ends_the_claim(self, catalogue: Catalogue) -> None:
        media_id = catalogue.accept(attachment()).id
        catalogue.release(claimed(catalogue, media_id), stage=Stage.FETCH, attempts=1, error=TROUBLE)
        record = catalogue.get(media_id)
        assert record
        assert (record.stage, record.attempts, record.error_code) == (Stage.FETCH, 1, "fetch_timeout")
        assert record.error == TROUBLE.message
        catalogue.release(claimed(catalogue, media_id), stage=Stage.DETECT, attempts=0, error=None)
        record = catalogue.get(media_id)
        assert record
        assert (record.stage, record.attempts, record.error_code, record.error) == (Stage.DETECT, 0, None, None)
        assert catalogue.totals()["retried"] == 1

    # --- outcomes ---

    def test_stored_attachment_is_done_once_it_is_announced(self, catalogue: Catalogue, clock: Clock) -> None:
        claim = claimed(catalogue, catalogue.accept(attachment(kind="video")).id)
        clock.now += 1
        record = mark_stored(catalogue, claim, stored(width=4, height=3, animated=False, flags=("macros", "encrypted")))
        assert (record.status, record.stage, record.kind, record.declared_kind) == (
            "stored",
            "notify",
            "image",
            "video",
        )
        assert (record.sha256, record.storage_key) == ("ab" * 32, f"ab/{'ab' * 32}")
        assert (record.width, record.height, record.animated, record.flags) == (4, 3, False, ("macros", "encrypted"))
        assert (record.mime, record.ext, record.size, record.name) == (
            "image/jpeg",
            "jpeg",
            7,
            "1700000000_ababab.jpeg",
        )
        assert (record.mismatch, record.duration_ms, record.pages) == ("declared as video/mp4", None, None)
        clock.now += 1
        done = catalogue.finish(claim, announced=True)
        assert (done.status, done.received_at + 1000, done.received_at + 2000) == (
            "done",
            done.ended_at,
            done.finished_at,
        )
        assert done.announced_at == done.finished_at
        assert counted(catalogue.totals()) == {"stored": 1, "done": 1}

    def test_stored_attachment_cannot_finish_unannounced(self, catalogue: Catalogue) -> None:
        claim = claimed(catalogue, catalogue.accept(attachment()).id)
        for _ in range(2):
            with pytest.raises(PermanentError) as caught:
                catalogue.finish(claim, announced=False)
            assert caught.value.code == Code.INTERNAL
            mark_stored(catalogue, claim, stored())
        assert catalogue.finish(claim, announced=True).status is Status.DONE

    def test_attachment_without_outcome_cannot_finish(self, catalogue: Catalogue) -> None:
        claim = claimed(catalogue, catalogue.accept(attachment()).id)
        with pytest.raises(PermanentError):
            catalogue.finish(claim, announced=True)

    @pytest.mark.parametrize("status", [Status.REJECTED, Status.FAILED, Status.EXPIRED])
    @pytest.mark.parametrize("announced", [True, False])
    def test_each_failure_is_finished_and_counted_once(
        self, catalogue: Catalogue, clock: Clock, status: Status, announced: bool
    ) -> None:
        claim = claimed(catalogue, catalogue.accept(attachment()).id)
        record = catalogue.mark_failed(claim, failure(status, Stage.VALIDATE, message="bad \0 " + "x" * 5000))
        assert (record.status, record.stage, record.attempts, record.finished_at) == (status, "validate", 3, None)
        assert record.error_code == "fetch_unavailable"
        assert record.error
        assert record.error.startswith("bad \ufffd xxx")
        assert len(record.error) == 2000
        assert counted(catalogue.totals()) == {}
        clock.now += 1
        closed = catalogue.finish(claim, announced=announced)
        assert (closed.status, closed.announced_at is not None) == (status, announced)
        assert counted(catalogue.totals()) == {status.value: 1}

    def test_first_outcome_is_kept(self, catalogue: Catalogue, clock: Clock) -> None:
        claim = claimed(catalogue, catalogue.accept(attachment()).id)
        first = Record.model_validate(dict(mark_stored(catalogue, claim, stored())))
        clock.now += 9
        assert mark_stored(catalogue, claim, stored(width=9)) == first
        refused = claimed(catalogue, catalogue.accept(attachment()).id)
        rejected = catalogue.mark_failed(refused, failure(Status.REJECTED))
        assert catalogue.mark_failed(refused, failure(Status.FAILED)) == rejected
        assert mark_stored(catalogue, refused, stored()) == rejected
        assert counted(catalogue.totals()) == {"stored": 1}

    def test_stored_attachment_fails_if_it_cannot_be_announced(self, catalogue: Catalogue) -> None:
        claim = claimed(catalogue, catalogue.accept(attachment()).id)
        mark_stored(catalogue, claim, stored())
        catalogue.mark_failed(claim, failure(stage=Stage.NOTIFY, code=Code.NOTIFY))
        record = catalogue.finish(claim, announced=False)
        assert (record.status, record.stage, record.storage_key) == ("failed", "notify", f"ab/{'ab' * 32}")

    def test_notify_errors_do_not_hide_the_failure(self, catalogue: Catalogue) -> None:
        claim = claimed(catalogue, catalogue.accept(attachment()).id)
        rejected = catalogue.mark_failed(
            claim, failure(Status.REJECTED, Stage.VALIDATE, code=Code.BROKEN, message="broken")
        )
        catalogue.release(claim, stage=Stage.NOTIFY, attempts=1, error=TROUBLE)
        assert catalogue.get(claim.id) == rejected

    def test_finish_ends_the_claim(self, catalogue: Catalogue) -> None:
        claim = claimed(catalogue, catalogue.accept(attachment()).id)
        mark_stored(catalogue, claim, stored())
        done, totals = catalogue.finish(claim, announced=True), catalogue.totals()
        for use in uses(catalogue, claim):
            with pytest.raises(SupersededError):
                use()
        catalogue.renew([claim.token], lease_s=60)
        assert (catalogue.get(claim.id), catalogue.totals()) == (done, totals)

    # --- replay ---

    def test_replay_of_a_failed_attachment_resumes_at_the_failed_stage(
        self, catalogue: Catalogue, clock: Clock
    ) -> None:
        inputs = {"fetched": {"size": 7, "sha256": "ab" * 32}}
        failed = finished(catalogue, Status.FAILED, stage=Stage.DETECT, inputs=inputs)
        clock.now += 100
        record = catalogue.reopen(failed.id)
        assert record
        assert (record.status, record.stage, record.run, record.attempts) == ("received", "detect", 1, 0)
        assert (record.error_code, record.ended_at, record.finished_at, record.announced_at) == (None,) * 4
        assert record.received_at == failed.received_at
        assert claimed(catalogue, failed.id).inputs == inputs

    @pytest.mark.parametrize("status", [Status.REJECTED, Status.EXPIRED])
    def test_replay_of_a_refused_attachment_starts_at_fetch(self, catalogue: Catalogue, status: Status) -> None:
        ended = finished(catalogue, status, stage=Stage.VALIDATE, inputs={"a": 1})
        record = catalogue.reopen(ended.id)
        assert record
        assert (record.status, record.stage) == ("received", "fetch")
        assert claimed(catalogue, ended.id).inputs is None

    def test_replay_after_failed_notify_only_announces(self, catalogue: Catalogue) -> None:
        claim = claimed(catalogue, catalogue.accept(attachment()).id)
        mark_stored(catalogue, claim, stored())
        catalogue.mark_failed(claim, failure(stage=Stage.NOTIFY))
        catalogue.finish(claim, announced=False)
        record = catalogue.reopen(claim.id)
        assert record
        assert (record.status, record.stage, record.run) == ("stored", "notify", 1)
        assert record.ended_at is not None
        assert catalogue.finish(claimed(catalogue, claim.id), announced=True).status is Status.DONE

    def test_replay_with_a_new_url_starts_at_fetch(self, catalogue: Catalogue) -> None:
        old = attachment(direct_path="/v/old", media_key=MEDIA_KEY, expires_at=5, caption="kept")
        failed = finished(catalogue, Status.FAILED, of=old, stage=Stage.PERSIST, inputs={"a": 1})
        record = catalogue.reopen(failed.id, source=NewSource(url="https://media.example/new"))
        assert record
        assert record.stage is Stage.FETCH
        claim = claimed(catalogue, failed.id)
        new = old.model_copy(update={"url": "https://media.example/new", "direct_path": None, "expires_at": None})
        assert (claim.attachment, claim.inputs) == (new, None)

    def test_replay_with_new_bytes_replaces_every_source(self, catalogue: Catalogue) -> None:
        expired = finished(catalogue, Status.EXPIRED, of=attachment(direct_path="/v/old", media_key=MEDIA_KEY))
        catalogue.reopen(expired.id, source=NewSource(), intake=True)
        claim = claimed(catalogue, expired.id)
        assert (claim.intake, claim.attachment.url, claim.attachment.direct_path) == (True, None, None)

    def test_replay_keeps_stored_bytes_unless_the_location_is_new(self, catalogue: Catalogue) -> None:
        for source, kept in ((NewSource(file_sha256="ab" * 32), True), (NewSource(direct_path="/v/new"), False)):
            media_id = catalogue.accept(attachment(), intake=True).id
            catalogue.mark_failed(claim := claimed(catalogue, media_id), failure(Status.REJECTED))
            catalogue.finish(claim, announced=True)
            catalogue.reopen(media_id, source=source)
            assert claimed(catalogue, media_id).intake is kept

    def test_only_failures_can_be_replayed_and_only_once(self, catalogue: Catalogue) -> None:
        assert catalogue.reopen(catalogue.accept(attachment()).id) is None
        assert catalogue.reopen(finished(catalogue).id) is None
        failed = finished(catalogue, Status.FAILED)
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: catalogue.reopen(failed.id), range(16)))
        assert sum(answer is not None for answer in answers) == 1

    # --- reading ---

    def test_find_returns_pages_newest_first(self, catalogue: Catalogue, clock: Clock) -> None:
        ids = []
        for number in range(25):
            clock.now += number % 3 / 1000  # several in the same millisecond
            ids.append(catalogue.accept(attachment()).id)
        pages, after = [], None
        while page := catalogue.find(Filters(), limit=4, after=after):
            pages.extend(page)
            after = page[-1].id
        assert [(record.received_at, record.id) for record in pages] == sorted(
            ((record.received_at, record.id) for record in pages), reverse=True
        )
        assert sorted(record.id for record in pages) == sorted(ids)

    def test_all_filters_must_match(self, catalogue: Catalogue, clock: Clock) -> None:
        finished(catalogue, of=attachment(session="a"))
        failed = finished(catalogue, Status.FAILED, of=attachment(session="a", kind="video"), stage=Stage.DETECT)
        clock.now += 60
        late = finished(catalogue, Status.FAILED, of=attachment(session="b"), code=Code.BROKEN)
        for filters, found in (
            (Filters(), 3),
            (Filters(status=Status.FAILED), 2),
            (Filters(session="a"), 2),
            (Filters(session="a", status=Status.FAILED, stage=Stage.DETECT, kind=Kind.VIDEO), [failed]),
            (Filters(error="broken"), [late]),
            (Filters(since=int(clock.now * 1000)), [late]),
            (Filters(session="c\0"), []),
        ):
            records = catalogue.find(filters)
            assert catalogue.count(filters) == len(records)
            assert (records if isinstance(found, list) else len(records)) == found

    @pytest.mark.parametrize("after", [NEVER, "no id", "\0"])
    def test_find_after_an_unknown_id_raises_not_found(self, catalogue: Catalogue, after: str) -> None:
        with pytest.raises(PermanentError) as caught:
            catalogue.find(Filters(), after=after)
        assert caught.value.code == Code.NOT_FOUND

    def test_unfinished_lists_attachments_without_a_live_claim(self, catalogue: Catalogue, clock: Clock) -> None:
        old, held, dead, released, unannounced = (catalogue.accept(attachment()).id for _ in range(5))
        finished(catalogue)
        claimed(catalogue, held, lease_s=500)
        claimed(catalogue, dead, lease_s=50)
        claim = claimed(catalogue, unannounced, lease_s=50)
        mark_stored(catalogue, claim, stored())
        clock.now += 90
        catalogue.release(claimed(catalogue, released), stage=Stage.FETCH, attempts=1, error=TROUBLE)
        clock.now += 10
        fresh = catalogue.accept(attachment()).id
        found = catalogue.unfinished(older_than_s=30)
        assert found == sorted([old, dead, unannounced])
        clock.now += 31
        found = catalogue.unfinished(older_than_s=30)
        assert set(found) == {old, dead, unannounced, released, fresh}
        first = catalogue.unfinished(older_than_s=30, limit=2)
        rest = catalogue.unfinished(older_than_s=30, after=first[-1])
        assert [*first, *rest] == found

    def test_times_of_a_wrong_clock_are_ignored(self, catalogue: Catalogue, clock: Clock) -> None:
        held, released, waiting = (catalogue.accept(attachment()).id for _ in range(3))
        clock.now += 10 * 365 * 86_400
        accepted = catalogue.accept(attachment()).id
        claimed(catalogue, held)
        catalogue.release(claimed(catalogue, released), stage=Stage.FETCH, attempts=1, error=TROUBLE)
        clock.now -= 10 * 365 * 86_400
        clock.now += 31
        found = set(catalogue.unfinished(older_than_s=30))
        assert found == {held, released, waiting, accepted}
        assert claimed(catalogue, held)

    def test_replayed_attachment_counts_as_unfinished_after_a_delay(self, catalogue: Catalogue, clock: Clock) -> None:
        failed = finished(catalogue, Status.FAILED)
        clock.now += 1000
        catalogue.reopen(failed.id)
        assert catalogue.unfinished(older_than_s=30) == []
        clock.now += 31
        assert catalogue.unfinished(older_than_s=30) == [failed.id]

    # --- counters ---

    def test_counters_of_concurrent_threads_add_up(self, catalogue: Catalogue) -> None:
        threads = [
            threading.Thread(target=lambda: [catalogue.increment("fallbacks") for _ in range(20)]) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        catalogue.increment("fallbacks", 5)
        assert catalogue.totals()["fallbacks"] == 165

    def test_durations_cover_first_runs_only(self, catalogue: Catalogue, clock: Clock) -> None:
        assert catalogue.statistics.durations() == {"mean": None, "p50": None, "p95": None, "p99": None}
        for seconds in range(1, 101):
            claim = claimed(catalogue, catalogue.accept(attachment()).id)
            clock.now += seconds
            mark_stored(catalogue, claim, stored())
            catalogue.finish(claim, announced=True)
        failed = finished(catalogue, Status.FAILED)
        clock.now += 100_000
        catalogue.reopen(failed.id)
        replayed = claimed(catalogue, failed.id)
        mark_stored(catalogue, replayed, stored())
        catalogue.finish(replayed, announced=True)
        assert catalogue.statistics.durations() == {"mean": 50_500, "p50": 50_000, "p95": 95_000, "p99": 99_000}

    def test_oldest_unfinished_ignores_replays(self, catalogue: Catalogue, clock: Clock) -> None:
        assert catalogue.statistics.oldest_unfinished_s() == 0
        replayed = finished(catalogue, Status.REJECTED)
        clock.now += 1000
        assert catalogue.reopen(replayed.id)
        assert catalogue.statistics.oldest_unfinished_s() == 0
        first = catalogue.accept(attachment()).id
        clock.now += 7
        catalogue.accept(attachment())
        assert catalogue.statistics.oldest_unfinished_s() == 7
        claim = claimed(catalogue, first)
        mark_stored(catalogue, claim, stored())
        catalogue.finish(claim, announced=True)
        assert catalogue.statistics.oldest_unfinished_s() == 0

    def test_unfinished_counts_each_replayed_attachment_once(self, catalogue: Catalogue) -> None:
        replayed = finished(catalogue, Status.REJECTED)
        assert catalogue.statistics.unfinished(limit=10) == 0
        assert catalogue.reopen(replayed.id)
        assert catalogue.statistics.unfinished(limit=10) == 1
        catalogue.accept(attachment())
        assert catalogue.statistics.unfinished(limit=10) == 2
        assert catalogue.statistics.unfinished(limit=1) == 1

    def test_per_minute_counts_every_status(self, catalogue: Catalogue, clock: Clock) -> None:
        finished(catalogue)
        clock.now += 30
        finished(catalogue, Status.FAILED)
        finished(catalogue, Status.REJECTED)
        assert catalogue.statistics.per_minute() == 3
        clock.now += 31
        assert catalogue.statistics.per_minute() == 2

    # --- untrusted text ---

    def test_any_text_survives_the_database(self, catalogue: Catalogue) -> None:
        text = st.text(st.characters(), max_size=40)
        storable = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40)
        identifier = storable.filter(str.strip)

        @settings(max_examples=40, deadline=None)
        @given(session=identifier, caption=text, chat=identifier, error=text)
        def keeps(session: str, caption: str, chat: str, error: str) -> None:
            given_ = attachment(session=session, caption=caption, chat=chat, filename=caption, media_key=f"!{caption}")
            accepted = catalogue.accept(given_)
            claim = claimed(catalogue, accepted.id, takeover=True)
            assert claim.attachment == given_
            assert (claim.record.session, claim.record.caption, claim.record.chat) == (
                given_.session, given_.caption, given_.chat,
            )  # fmt: skip
            catalogue.release(claim, stage=Stage.FETCH, attempts=1, error=RetryableError(Code.STORAGE, error))
            assert accepted.id in [record.id for record in catalogue.find(Filters(session=session))]

        keeps()

    # --- pauses ---

    def test_pauses_last_until_removed_and_keep_their_time(self, catalogue: Catalogue, clock: Clock) -> None:
        began = int(clock.now * 1000)
        assert catalogue.pauses.add("session", "loja 📎", paused_by="ana", reason="new phone")
        clock.now += 5
        assert not catalogue.pauses.add("session", "loja 📎", paused_by="ben", reason="later")
        assert catalogue.pauses.add("stage", "fetch")
        assert catalogue.pauses.all() == [
            Pause("stage", "fetch", began + 5000),
            Pause("session", "loja 📎", began, "ana", "new phone"),
        ]
        assert not catalogue.pauses.remove("session", "fetch")
        assert catalogue.pauses.remove("stage", "fetch")
        assert not catalogue.pauses.remove("stage", "fetch")
        assert [pause.name for pause in catalogue.pauses.all()] == ["loja 📎"]

    # --- cancellation ---

    def test_cancelled_attachment_cannot_be_stored_and_ends_cancelled(self, catalogue: Catalogue, clock: Clock) -> None:
        claim = claimed(catalogue, catalogue.accept(attachment()).id)
        asked = catalogue.cancellations.request(claim.id)
        assert asked
        assert (asked.status, asked.cancelled_at) == (Status.RECEIVED, int(clock.now * 1000))
        clock.now += 5
        assert catalogue.cancellations.request(claim.id) == asked
        with pytest.raises(CancelledError):
            mark_stored(catalogue, claim, stored())
        record = catalogue.mark_failed(claim, failure(Status.FAILED, inputs={"size": 1, "sha256": "ab"}))
        assert (record.status, record.error_code, record.error) == (Status.REJECTED, "cancelled", "it was cancelled")
        assert catalogue.finish(claim, announced=True).status is Status.REJECTED
        assert counted(catalogue.totals()) == {"rejected": 1}

    def test_stored_or_ended_attachment_cannot_be_cancelled(self, catalogue: Catalogue) -> None:
        under_way = claimed(catalogue, catalogue.accept(attachment()).id)
        mark_stored(catalogue, under_way, stored())
        refused = claimed(catalogue, catalogue.accept(attachment()).id)
        catalogue.mark_failed(refused, failure())
        ids = [under_way.id, refused.id, *(finished(catalogue, status).id for status in ENDINGS), NEVER, "no id"]
        assert [catalogue.cancellations.request(media_id) for media_id in ids] == [None] * len(ids)
        assert catalogue.finish(refused, announced=True).status is Status.FAILED

    def test_replay_clears_the_cancellation(self, catalogue: Catalogue) -> None:
        claim = claimed(catalogue, catalogue.accept(attachment()).id)
        catalogue.cancellations.request(claim.id)
        catalogue.mark_failed(claim, failure(Status.REJECTED))
        catalogue.finish(claim, announced=True)
        again = catalogue.reopen(claim.id)
        assert again
        assert (again.status, again.cancelled_at, again.run) == (Status.RECEIVED, None, 1)
        assert mark_stored(catalogue, claimed(catalogue, claim.id), stored()).status is Status.STORED

    def test_withdrawn_content_counts_as_a_deletion(self, catalogue: Catalogue, clock: Clock) -> None:
        claim = claimed(catalogue, catalogue.accept(attachment()).id)
        catalogue.cancellations.request(claim.id)
        key = f"ab/{SHA256}"
        noted = catalogue.cancellations.withdraw(claim, sha256=SHA256, key=key)
        assert not catalogue.deletions.is_content_in_use(SHA256)
        assert catalogue.deletions.find({SHA256, "0" * 64}, since=0) == {SHA256: [(int(clock.now * 1000), True)]}
        catalogue.deletions.finish(noted)
        assert catalogue.deletions.find([SHA256], since=0) == {SHA256: [(int(clock.now * 1000), False)]}
        assert catalogue.deletions.find([SHA256], since=int(clock.now * 1000) + 1) == {}
        assert catalogue.deletions.find([], since=0) == {}
        assert catalogue.deletions.unfinished(older_than_s=-1) == []
        catalogue.claim(claim.id, lease_s=60, takeover=True)
        with pytest.raises(SupersededError):
            catalogue.cancellations.withdraw(claim, sha256=SHA256, key=key)


ENDINGS = (Status.DONE, Status.FAILED, Status.REJECTED, Status.EXPIRED)


def uses(catalogue: Catalogue, claim: Claim) -> list[Callable[[], object]]:
    """Every write that presents a claim."""
    return [
        lambda: mark_stored(catalogue, claim, stored(width=1)),
        lambda: catalogue.mark_failed(claim, failure()),
        lambda: catalogue.finish(claim, announced=True),
        lambda: catalogue.finish(claim, announced=False),
        lambda: catalogue.release(claim, stage=Stage.FETCH, attempts=2, error=TROUBLE),
    ]
