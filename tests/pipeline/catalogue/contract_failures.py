"""Tests of failure groups and search that every database must pass."""

from __future__ import annotations

import pytest

from pipeline.catalogue import Catalogue, Filters
from pipeline.catalogue import search as search_module
from pipeline.errors import Code, RetryableError
from pipeline.models import Record, Stage, Status
from tests.support.catalogues import SHA256, Clock, attachment, claimed, finished


class FailuresContract:
    """Subclass it with the fixture `url` (an empty, migrated database)."""

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def catalogue(self, url: str, clock: Clock) -> Catalogue:
        return Catalogue(url, clock=clock)

    # --- failure groups ---

    def test_failures_are_grouped_by_code_and_stage(self, catalogue: Catalogue, clock: Clock) -> None:
        first = finished(catalogue, Status.FAILED, of=attachment(session="a"))
        clock.now += 10
        finished(catalogue, Status.FAILED, of=attachment(session="b"))
        clock.now += 10
        last = finished(catalogue, Status.FAILED, of=attachment(session="b", caption="newest"))
        other = finished(catalogue, Status.FAILED, stage=Stage.PERSIST)
        gone = finished(catalogue, Status.EXPIRED, code=Code.SOURCE_GONE, message="media.example answers 410")
        finished(catalogue)
        groups = catalogue.failures.find()
        assert [(group.code, group.stage, group.count) for group in groups] == [
            ("fetch_unavailable", Stage.FETCH, 3),
            ("fetch_unavailable", Stage.PERSIST, 1),
            ("source_gone", Stage.FETCH, 1),
        ]
        assert (groups[0].oldest, groups[0].newest) == (first.received_at, last.received_at)
        assert (groups[0].sessions, groups[0].busiest) == (2, ("b", "a"))
        assert [group.example for group in groups] == [last, other, gone]

    def test_groups_omit_replayed_deleted_and_retried_attachments(self, catalogue: Catalogue) -> None:
        again, deleted = (finished(catalogue, Status.FAILED) for _ in range(2))
        assert catalogue.reopen(again.id)
        assert catalogue.deletions.start(deleted.id)
        trying = claimed(catalogue, catalogue.accept(attachment()).id)
        trouble = RetryableError(Code.FETCH_TIMEOUT, "too slow")
        catalogue.release(trying, stage=Stage.FETCH, attempts=1, error=trouble)
        assert catalogue.failures.find() == []

    def test_groups_can_be_limited_by_time_and_session(self, catalogue: Catalogue, clock: Clock) -> None:
        finished(catalogue, Status.REJECTED, of=attachment(session="<b>'; --"))
        clock.now += 1000
        since = catalogue.now()
        finished(catalogue, Status.REJECTED, of=attachment(session="other"))
        assert [group.count for group in catalogue.failures.find()] == [2]
        assert [group.busiest for group in catalogue.failures.find(since=since)] == [("other",)]
        assert [group.example.session for group in catalogue.failures.find(session="<b>'; --")] == ["<b>'; --"]
        assert catalogue.failures.find(since=since, session="<b>'; --") == []
        assert catalogue.failures.find(session="nobody") == []

    def test_group_names_the_three_busiest_sessions(self, catalogue: Catalogue) -> None:
        for number, session in enumerate(("a", "b", "c", "d", "e"), 1):
            for _ in range(number):
                finished(catalogue, Status.FAILED, of=attachment(session=session))
        [group] = catalogue.failures.find()
        assert (group.count, group.sessions, group.busiest) == (15, 5, ("e", "d", "c"))

    # --- search ---

    def test_search_finds_by_id_hash_message_chat_and_words(self, catalogue: Catalogue) -> None:
        number = "5511987654321"
        found = finished(
            catalogue,
            of=attachment(
                message_id="true_5511987654321@c.us_3EB0AB", chat=f"{number}@c.us", sender="42@lid",
                filename="Relatório FINAL.pdf", caption="Ata da reunião\nde ontem",
            ),
        )  # fmt: skip
        for _ in range(3):
            finished(catalogue, Status.FAILED, of=attachment(chat="1@g.us", sender="1@c.us", filename="x.jpg"))
        for text in (
            *(found.id, found.id[:6], found.id[:9].upper(), SHA256[:12], SHA256.upper(), found.message_id, "3eb0ab"),
            *(found.chat, number, "+55 (11) 98765-4321", "42@lid", "relatorio", "final relatório", "REUNIAO ontem"),
            *("ata", "   Ata  "),
        ):
            assert text
            page = catalogue.search.find(text, Filters())
            assert [one.id for one in page.records] == [found.id], text
            assert (page.more, page.partial) == (False, False)

    def test_search_without_match_is_empty(self, catalogue: Catalogue) -> None:
        finished(catalogue, of=attachment(caption="100 percent_of nothing", chat="1@c.us"))
        for text in ("", "  ", "%", "100%", "percentxof", "nothing else", "f" * 32, "0" * 64, "\0\ud800", "'; DROP --"):
            assert catalogue.search.find(text, Filters()).records == [], text

    def test_search_applies_filters_to_every_match(self, catalogue: Catalogue) -> None:
        def made(session: str, status: Status) -> Record:
            return finished(catalogue, status, of=attachment(session=session, chat="7@c.us", caption="word", part=1))

        failed = made("a", Status.FAILED)
        made("a", Status.DONE)
        made("b", Status.FAILED)
        for text in ("7@c.us", "7", "word"):
            page = catalogue.search.find(text, Filters(session="a", status=Status.FAILED))
            assert [one.id for one in page.records] == [failed.id]
            assert catalogue.search.find(text, Filters(since=catalogue.now() + 1)).records == []
        assert catalogue.search.find(failed.id, Filters(session="b")).records == []

    def test_search_pages_stay_stable_while_attachments_arrive(self, catalogue: Catalogue, clock: Clock) -> None:
        expected = []
        for number in range(11):
            clock.now += number % 2  # some are received in the same millisecond
            expected.append(finished(catalogue, of=attachment(chat="7@c.us")).id)
        for text in ("7@c.us", "c.us"):
            found: list[Record] = []
            page = catalogue.search.find(text, Filters(), limit=3)
            while True:
                found += page.records
                clock.now += 1
                newest = finished(catalogue, of=attachment(chat="8@c.us" if "7" in text else "8@g.us"))
                if not page.more:
                    break
                last = page.records[-1]
                page = catalogue.search.find(text, Filters(), limit=3, after=(last.received_at, last.id))
            ids = [one.id for one in found if one.chat == "7@c.us"]
            assert newest.id not in ids
            assert sorted(ids) == sorted(expected)
            assert len(ids) == len(set(ids))
            assert [one.received_at for one in found] == sorted((one.received_at for one in found), reverse=True)

    def test_word_search_covers_the_newest_matches_only(
        self, catalogue: Catalogue, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(search_module, "WITHIN", 5)
        monkeypatch.setattr(search_module, "PAGE", 2)
        old = finished(catalogue, of=attachment(session="old", caption="needle", chat="9@c.us"))
        newer = []
        for _ in range(5):
            clock.now += 1
            newer.append(finished(catalogue, of=attachment(session="new", caption="needle")).id)
        page = catalogue.search.find("needle", Filters())
        assert ([one.id for one in page.records], page.partial) == (newer[::-1], True)
        assert [one.id for one in catalogue.search.find("9@c.us", Filters()).records] == [old.id]
        within_session = catalogue.search.find("needle", Filters(session="old"))
        assert ([one.id for one in within_session.records], within_session.partial) == ([old.id], False)
