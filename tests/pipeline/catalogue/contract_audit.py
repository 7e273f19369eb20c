"""The contract of the audit log, for SQLite and PostgreSQL."""

from __future__ import annotations

import pytest

from pipeline.catalogue import Action, Actor, AuditFilters, AuditOutcome, Catalogue, Via
from tests.support.catalogues import Clock

MARIA = Actor(who="maria", role="operator", token_id="t1", via=Via.API, source="192.0.2.7")
CLI = Actor(who="cli", role="admin", via=Via.CLI, source="root@host")


class AuditContract:
    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def catalogue(self, url: str, clock: Clock) -> Catalogue:
        return Catalogue(url, clock=clock)

    def test_an_entry_is_readable_before_its_action_ends(self, catalogue: Catalogue, clock: Clock) -> None:
        entry_id = catalogue.audit.begin(MARIA, Action.PAUSE, {"session": "shop"})
        [entry] = catalogue.audit.find(AuditFilters())
        assert (entry.id, entry.at, entry.outcome) == (entry_id, int(clock.now * 1000), AuditOutcome.STARTED)
        assert (entry.who, entry.role, entry.token_id) == ("maria", "operator", "t1")
        assert (entry.via, entry.source, entry.action) == ("api", "192.0.2.7", "pause")
        assert (entry.target, entry.count, entry.detail, entry.ended_at) == ({"session": "shop"}, 0, {}, None)

    def test_the_result_of_an_action_is_written_once(self, catalogue: Catalogue, clock: Clock) -> None:
        entry_id = catalogue.audit.begin(MARIA, Action.REPLAY, {"error": "fetch_timeout"})
        catalogue.audit.advance(entry_id, count=3)
        assert [entry.count for entry in catalogue.audit.find(AuditFilters())] == [3]
        clock.now += 2
        catalogue.audit.complete(entry_id, AuditOutcome.DONE, count=5, detail={"missed": 1})
        catalogue.audit.complete(entry_id, AuditOutcome.FAILED, count=0, detail={})
        catalogue.audit.advance(entry_id, count=9)
        [entry] = catalogue.audit.find(AuditFilters())
        assert (entry.outcome, entry.count, entry.detail) == (AuditOutcome.DONE, 5, {"missed": 1})
        assert entry.ended_at == entry.at + 2000

    def test_an_action_that_has_ended_is_one_row(self, catalogue: Catalogue) -> None:
        catalogue.audit.record(MARIA, Action.LOGIN, {}, outcome=AuditOutcome.DONE)
        catalogue.audit.record(MARIA, Action.DELETE, {"id": "x"}, outcome=AuditOutcome.REFUSED)
        refused, done = catalogue.audit.find(AuditFilters())
        if refused.action != Action.DELETE:
            refused, done = done, refused
        assert (refused.count, refused.ended_at, refused.target) == (0, refused.at, {"id": "x"})
        assert (done.count, done.ended_at) == (1, done.at)

    def test_each_filter_selects_its_entries(self, catalogue: Catalogue, clock: Clock) -> None:
        catalogue.audit.begin(MARIA, Action.PAUSE, {})
        clock.now += 10
        catalogue.audit.record(CLI, Action.SWEEP, {}, outcome=AuditOutcome.DONE)
        now = int(clock.now * 1000)
        for filters, expected in (
            (AuditFilters(who="maria"), ["pause"]),
            (AuditFilters(action=Action.SWEEP), ["sweep"]),
            (AuditFilters(outcome=AuditOutcome.STARTED), ["pause"]),
            (AuditFilters(via=Via.CLI), ["sweep"]),
            (AuditFilters(since=now), ["sweep"]),
            (AuditFilters(until=now), ["pause"]),
            (AuditFilters(who="maria", action=Action.SWEEP), []),
            (AuditFilters(), ["sweep", "pause"]),
        ):
            assert [entry.action for entry in catalogue.audit.find(filters)] == expected, filters

    def test_pages_have_every_entry_once(self, catalogue: Catalogue, clock: Clock) -> None:
        ids = []
        for number in range(9):
            ids.append(catalogue.audit.begin(MARIA, Action.CANCEL, {}))
            clock.now += number % 3 == 0  # some have the same millisecond
        found: list[str] = []
        after = None
        while page := catalogue.audit.find(AuditFilters(who="maria"), limit=2, after=after):
            found += [entry.id for entry in page]
            after = page[-1].at, page[-1].id
        assert sorted(found) == sorted(ids)
        assert len(found) == len(ids)

    def test_old_entries_are_removed_in_small_transactions(self, catalogue: Catalogue, clock: Clock) -> None:
        for _ in range(3):
            catalogue.audit.begin(CLI, Action.SWEEP, {})
        clock.now += 86_400
        kept = catalogue.audit.begin(CLI, Action.SWEEP, {})
        assert catalogue.audit.trim(older_than_s=86_401) == 0
        assert catalogue.audit.trim(older_than_s=86_399) == 3
        assert [entry.id for entry in catalogue.audit.find(AuditFilters())] == [kept]

    def test_hostile_text_is_stored_and_read_back(self, catalogue: Catalogue) -> None:
        hostile = "\x1b[31m<b>a\nb\0\ud800'; DROP TABLE audit; --"
        stranger = Actor(who=hostile, via=Via.DASHBOARD, source=hostile)
        catalogue.audit.begin(stranger, Action.PAUSE, {"session": hostile})
        [entry] = catalogue.audit.find(AuditFilters())
        for text in (entry.who, entry.source, entry.target["session"]):
            assert text.startswith("\x1b[31m<b>a\nb")
            assert text.endswith("'; DROP TABLE audit; --")
            text.encode()  # no lone surrogate
