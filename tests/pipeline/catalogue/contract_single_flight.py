"""Tests of single flight that every database must pass."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pipeline.catalogue import Catalogue, FinishRequest, SingleFlight
from pipeline.errors import Code, PacedError
from pipeline.models import (
    Attachment,
    Claim,
    ContentMatch,
    Detected,
    Facts,
    Fetched,
    Kind,
    Refusal,
    Stage,
    Status,
    Stored,
    Validated,
)
from pipeline.models.replacement_source import NewSource
from pipeline.storage import content_key
from tests.support.catalogues import Clock, attachment, failure, mark_stored

HASH = hashlib.sha256(b"a greeting that everybody passes on").hexdigest()
KEY = "ab" * 32
ALL = SingleFlight(anyone=True)
LEASE_S = 30.0


def with_hash(**fields: Any) -> Attachment:
    return attachment(**{"file_sha256": HASH, "chat": "c@g.us", **fields})


def other_url(number: int = 0) -> str:
    return f"https://media.example/{number}?signature=another"


def stored_content(sha256: str = HASH, *, deduplicated: bool = False) -> Stored:
    fetched = Fetched(size=7, sha256=sha256, deduplicated=deduplicated)
    detected = Detected(fetched=fetched, kind=Kind.IMAGE, mime="image/jpeg", ext="jpeg")
    return Stored(validated=Validated(detected=detected, facts=Facts()), storage_key=content_key(sha256), name="x.jpeg")


class SingleFlightContract:
    """Subclass it with the fixture `url` (an empty, migrated database)."""

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def catalogue(self, url: str, clock: Clock) -> Iterator[Catalogue]:
        catalogue = Catalogue(url, clock=clock)
        yield catalogue
        catalogue.close()

    def claim_to_fetch(self, catalogue: Catalogue, media_id: str, flight: SingleFlight = SingleFlight()) -> Claim:  # noqa: B008
        claim = catalogue.claim(media_id, lease_s=LEASE_S, single_flight=flight)
        assert not isinstance(claim, Refusal), claim
        return claim

    def accepted(self, catalogue: Catalogue, **fields: Any) -> Claim:
        return self.claim_to_fetch(catalogue, catalogue.accept(with_hash(**fields)).id)

    def waits_s(self, catalogue: Catalogue, media_id: str, flight: SingleFlight = SingleFlight()) -> float:  # noqa: B008
        """How long the claim has to wait."""
        with pytest.raises(PacedError) as error:
            catalogue.claim(media_id, lease_s=LEASE_S, single_flight=flight)
        assert error.value.code is Code.FETCH_BUSY
        assert error.value.retry_after
        return error.value.retry_after

    def done(self, catalogue: Catalogue, **fields: Any) -> Claim:
        claim = self.accepted(catalogue, **fields)
        mark_stored(catalogue, claim, stored_content())
        catalogue.finish(claim, announced=True)
        return claim

    def test_second_claim_of_the_same_content_waits(self, catalogue: Catalogue) -> None:
        self.accepted(catalogue)
        second = catalogue.accept(with_hash(url=other_url())).id
        assert self.waits_s(catalogue, second) <= 2
        assert not isinstance(catalogue.claim(second, lease_s=LEASE_S), Refusal)

    def test_wait_is_as_long_as_the_other_fetch_has_taken(self, catalogue: Catalogue, clock: Clock) -> None:
        self.accepted(catalogue)
        second = catalogue.accept(with_hash()).id
        waits = []
        for _ in range(12):
            waits.append(self.waits_s(catalogue, second))
            clock.now += waits[-1]
        assert waits[0] == pytest.approx(0.025)
        assert waits[4] == pytest.approx(0.2, rel=0.1)
        assert waits[-1] == 2

    @pytest.mark.parametrize(
        "stranger",
        [
            pytest.param({"chat": "another@g.us"}, id="another chat"),
            pytest.param({"chat": None}, id="unknown chat"),
            pytest.param({"gateway": "waha"}, id="same names at another gateway"),
            pytest.param({"session": "stranger"}, id="another session"),
            pytest.param({"chat": "another@g.us", "media_key": KEY}, id="key that has proved nothing"),
        ],
    )
    @pytest.mark.parametrize("is_stored", [False, True])
    def test_hash_alone_neither_matches_nor_waits_outside_the_chat(
        self, catalogue: Catalogue, stranger: dict[str, Any], is_stored: bool
    ) -> None:
        """A stranger who knows the hash of a file must not obtain it through another chat of the session."""
        owner = self.accepted(catalogue)
        if is_stored:
            mark_stored(catalogue, owner, stored_content())
        assert self.accepted(catalogue, url=other_url(), **stranger).content_match is None

    def test_unknown_chats_are_not_the_same_chat(self, catalogue: Catalogue) -> None:
        self.done(catalogue, chat=None)
        assert self.accepted(catalogue, chat=None, url=other_url()).content_match is None

    def test_same_media_key_matches_in_another_chat(self, catalogue: Catalogue) -> None:
        self.done(catalogue, media_key=KEY, direct_path="/v/one")
        forwarded = self.accepted(catalogue, media_key=KEY, direct_path="/v/two", chat="another@g.us")
        assert forwarded.content_match is ContentMatch.BY_SOURCE

    def test_stored_content_matches_in_its_chat(self, catalogue: Catalogue) -> None:
        self.done(catalogue)
        assert self.accepted(catalogue, url=other_url()).content_match is ContentMatch.BY_HASH

    def test_content_matches_as_soon_as_it_is_stored(self, catalogue: Catalogue) -> None:
        first = self.accepted(catalogue)
        mark_stored(catalogue, first, stored_content())
        assert self.accepted(catalogue, url=other_url()).content_match is ContentMatch.BY_HASH

    @pytest.mark.parametrize("same", [{"url": "https://a.example/f?sig=1"}, {"media_key": KEY, "direct_path": "/v/f"}])
    def test_same_source_matches_in_another_session(self, catalogue: Catalogue, same: dict[str, str]) -> None:
        self.done(catalogue, **same)
        assert self.accepted(catalogue, session="other", **same).content_match is ContentMatch.BY_SOURCE

    def test_same_media_key_is_the_same_source(self, catalogue: Catalogue) -> None:
        self.done(catalogue, media_key=KEY, direct_path="/v/one?oe=1", kind="image")
        again = {"media_key": bytes.fromhex(KEY), "direct_path": "/v/two?oe=2", "gateway": "waha"}
        assert self.accepted(catalogue, session="other", **again).content_match is ContentMatch.BY_SOURCE

    def test_other_media_key_is_another_source(self, catalogue: Catalogue) -> None:
        self.done(catalogue, media_key=KEY)
        assert self.accepted(catalogue, session="other", media_key="cd" * 32).content_match is None

    def test_other_gateway_is_another_source(self, catalogue: Catalogue) -> None:
        self.done(catalogue, gateway="waha")
        assert self.accepted(catalogue, session="other", gateway="media").content_match is None

    def test_content_matched_by_hash_does_not_prove_its_source(self, catalogue: Catalogue) -> None:
        """Otherwise an attacker could send a forged message to one session and use its source in another."""
        self.done(catalogue)
        forged = {"media_key": KEY, "direct_path": "/v/forged"}
        assert self.done(catalogue, **forged).content_match is ContentMatch.BY_HASH
        assert self.accepted(catalogue, session="forger", **forged).content_match is None

    def test_content_replayed_with_a_new_source_does_not_prove_the_old_one(self, catalogue: Catalogue) -> None:
        failed = self.accepted(catalogue)
        catalogue.mark_failed(failed, failure(Status.EXPIRED, code=Code.SOURCE_GONE))
        catalogue.finish(failed, announced=True)
        source = {"url": "https://a.example/new"}
        assert catalogue.reopen(failed.id, source=NewSource(**source))
        again = self.claim_to_fetch(catalogue, failed.id)
        mark_stored(catalogue, again, stored_content())
        assert self.accepted(catalogue, session="one", **source).content_match is None
        assert self.accepted(catalogue, session="two").content_match is None

    def test_replay_waits_and_matches_like_a_new_attachment(self, catalogue: Catalogue) -> None:
        failed = self.accepted(catalogue)
        catalogue.mark_failed(failed, failure(Status.FAILED))
        catalogue.finish(failed, announced=True)
        assert catalogue.reopen(failed.id)
        other = self.accepted(catalogue, url=other_url())
        self.waits_s(catalogue, failed.id)
        mark_stored(catalogue, other, stored_content())
        assert self.claim_to_fetch(catalogue, failed.id).content_match is ContentMatch.BY_HASH

    def test_anyone_matches_by_hash_alone(self, catalogue: Catalogue) -> None:
        first = self.accepted(catalogue)
        stranger = catalogue.accept(with_hash(session="stranger", url=other_url())).id
        self.waits_s(catalogue, stranger, ALL)
        mark_stored(catalogue, first, stored_content())
        assert self.claim_to_fetch(catalogue, stranger, ALL).content_match is ContentMatch.BY_HASH

    def test_claim_without_waiting_still_matches_stored_content(self, catalogue: Catalogue) -> None:
        first = self.accepted(catalogue)
        second = catalogue.accept(with_hash()).id
        patient = self.claim_to_fetch(catalogue, second, SingleFlight(waits=False))
        assert patient.content_match is None
        catalogue.release(patient, stage=Stage.FETCH, attempts=1, error=None)
        mark_stored(catalogue, first, stored_content())
        assert self.claim_to_fetch(catalogue, second, SingleFlight(waits=False)).content_match is ContentMatch.BY_SOURCE

    def test_other_or_missing_hash_does_not_match(self, catalogue: Catalogue) -> None:
        self.accepted(catalogue)
        self.accepted(catalogue, file_sha256=None)
        assert self.accepted(catalogue, file_sha256="cd" * 32).content_match is None
        assert self.accepted(catalogue, file_sha256=None).content_match is None

    def test_inline_bytes_neither_wait_nor_delay_others(self, catalogue: Catalogue) -> None:
        self.accepted(catalogue)
        brought = catalogue.accept(with_hash(), intake=True).id
        assert self.claim_to_fetch(catalogue, brought).content_match is None
        assert self.accepted(catalogue, session="other", url=None, data="YQ==").content_match is None

    @pytest.mark.parametrize("how", ["released", "ended"])
    def test_next_attachment_fetches_at_once_after_a_failure(self, catalogue: Catalogue, how: str) -> None:
        first = self.accepted(catalogue)
        second = catalogue.accept(with_hash()).id
        self.waits_s(catalogue, second)
        if how == "released":
            catalogue.release(first, stage=Stage.FETCH, attempts=1, error=None)
        else:
            catalogue.mark_failed(first, failure(Status.REJECTED))
        assert self.claim_to_fetch(catalogue, second).content_match is None
        if how == "released":
            self.waits_s(catalogue, first.id)

    def test_fetch_of_a_dead_worker_is_awaited_until_its_lease_expires(
        self, catalogue: Catalogue, clock: Clock
    ) -> None:
        self.accepted(catalogue)
        second = catalogue.accept(with_hash()).id
        clock.now += LEASE_S - 1
        self.waits_s(catalogue, second)
        clock.now += 2
        assert self.claim_to_fetch(catalogue, second).content_match is None

    def test_lease_of_a_wrong_clock_is_not_awaited(self, catalogue: Catalogue, clock: Clock) -> None:
        clock.now += 3600
        self.accepted(catalogue)
        clock.now -= 3600
        assert self.accepted(catalogue).content_match is None

    def test_wait_for_another_source_is_limited_to_a_minute(self, catalogue: Catalogue, clock: Clock) -> None:
        waiting = [catalogue.accept(with_hash(url=url)).id for url in (other_url(), "https://media.example/x")]
        clock.now += 61
        self.accepted(catalogue)
        assert self.claim_to_fetch(catalogue, waiting[0]).content_match is None
        self.waits_s(catalogue, waiting[1])

    def test_deleted_content_does_not_match(self, catalogue: Catalogue) -> None:
        first = self.done(catalogue)
        assert catalogue.deletions.start(first.id)
        assert self.accepted(catalogue).content_match is None

    def test_deduplicated_content_is_counted(self, catalogue: Catalogue) -> None:
        self.done(catalogue)
        again = self.accepted(catalogue)
        catalogue.mark_stored_many([(again, stored_content(deduplicated=True))])
        catalogue.finish_many([FinishRequest(again, announced=True)])
        totals = catalogue.totals()
        assert (totals["stored"], totals["deduplicated"], totals["done"]) == (2, 1, 2)

    def test_concurrent_claims_of_one_content_fetch_once(self, url: str) -> None:
        catalogues = [Catalogue(url) for _ in range(3)]
        for turn in range(8):
            sha256 = hashlib.sha256(bytes([turn])).hexdigest()
            ids = [catalogues[0].accept(with_hash(file_sha256=sha256, url=other_url(n))).id for n in range(12)]
            together = threading.Barrier(12)

            def go(number: int, ids: list[str] = ids, together: threading.Barrier = together) -> bool:
                together.wait(30)
                try:
                    catalogues[number % 3].claim(ids[number], lease_s=LEASE_S, single_flight=SingleFlight())
                except PacedError:
                    return False
                return True

            with ThreadPoolExecutor(12) as pool:
                assert sum(pool.map(go, range(12))) == 1
        for catalogue in catalogues:
            catalogue.close()
