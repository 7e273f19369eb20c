"""Parts of the attachment pages: links, colours, stage states, table queries, bulk replays."""

from __future__ import annotations

import asyncio
import base64
import re
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from actors.operations.audit import AuditEntry
from esteira.web.dashboard.attachments import links
from esteira.web.dashboard.attachments.parts import colour_of, name_of
from esteira.web.dashboard.attachments.table_query import TableQuery
from esteira.web.dashboard.attachments.timeline import state_of
from esteira.web.dashboard.bulk import run as bulk_run
from esteira.web.dashboard.bulk import selections
from esteira.web.dashboard.bulk.actions import CANCEL, DELETE, REPLAY, BulkAction
from esteira.web.dashboard.bulk.run import BulkRun, BulkRuns
from esteira.web.dashboard.bulk.selections import MediaSelection, ReplaySelection, forecast
from esteira.web.dashboard.faults import fault
from esteira.web.dashboard.view import View
from pipeline.catalogue import Action, Actor, Catalogue, Via
from pipeline.errors import Code, PermanentError, RetryableError
from pipeline.media_types.previews.thumbhash import thumbhash
from pipeline.models import Record, Stage, Status
from pipeline.security.callers import API_TOKEN_CALLER, Caller
from pipeline.security.roles import Role
from pipeline.security.scopes import parse_scope
from tests.support.catalogues import attachment, finished


def record(**fields: Any) -> Record:
    given = {"id": "ab" * 16, "gateway": "media", "session": "s", "message_id": "m", "part": 0, "received_at": 1}
    return Record.model_validate({**given, "status": "done", "stage": "notify", **fields})


def test_listing_links_encode_any_name_and_skip_empty_filters() -> None:
    assert links.listing(session="a/b?c&d#é") == "/dashboard/media?session=a%2Fb%3Fc%26d%23%C3%A9"
    assert links.listing(session="", status=None) == "/dashboard/media"
    query = TableQuery.of({"status": "failed", "session": "  ", "search": " x ", "unknown": "1"})
    assert (query.filter_values, query.search, query.is_filtered) == ({"status": "failed"}, "x", True)
    assert query.path("there") == "/dashboard/media?status=failed&search=x&after=there"


def test_name_of_prefers_the_declared_file_name() -> None:
    assert name_of(record(filename="a.jpg", name="1_2.jpg")) == "a.jpg"
    assert name_of(record(name="1_2.jpg")) == "1_2.jpg"
    assert name_of(record()) == "m"


@pytest.mark.parametrize("colour", [(250, 250, 250), (5, 5, 5), (200, 60, 40), (30, 90, 180), (40, 160, 70)])
def test_colour_of_is_the_average_of_a_thumbhash(colour: tuple[int, int, int]) -> None:
    made = base64.b64encode(thumbhash(8, 8, bytes((*colour, 255)) * 64)).decode()
    found = re.fullmatch(r"rgb\((\d+) (\d+) (\d+)\)", str(colour_of(made)))
    assert found
    assert [abs(int(is_) - was) < 12 for is_, was in zip(found.groups(), colour, strict=True)] == [True] * 3


def test_colour_of_an_invalid_thumbhash_is_none() -> None:
    for none in (None, "", "!", "AA=="):
        assert colour_of(none) is None


@pytest.mark.parametrize(
    ("fields", "states"),
    [
        ({"status": "received", "stage": "detect"}, "passed running ahead ahead ahead"),
        ({"status": "stored", "stage": "notify"}, "passed passed passed passed running"),
        ({"status": "done", "stage": "notify"}, "passed passed passed passed passed"),
        ({"status": "rejected", "stage": "validate", "announced_at": 5}, "passed passed bad ahead passed"),
        ({"status": "failed", "stage": "notify"}, "passed passed passed passed bad"),
    ],
)
def test_state_of_each_stage_follows_the_record(fields: dict[str, Any], states: str) -> None:
    assert [state_of(record(**fields), stage) for stage in Stage] == states.split()


def test_errors_are_shown_in_the_language_of_the_page() -> None:
    assert fault(View("pt-BR"), PermanentError(Code.NOT_ENDED, "is done")).startswith("a situação dele mudou")
    assert fault(View("en"), RetryableError(Code.STORAGE, "full")) == "storage does not answer. Try again."
    assert fault(View("pt-BR"), PermanentError(Code.BAD_PAYLOAD, "url: is odd")) == "url: is odd"


@pytest.fixture
def catalogue(tmp_path: Any) -> Catalogue:
    catalogue = Catalogue(f"sqlite:///{tmp_path}/catalogue.db")
    catalogue.migrate()
    return catalogue


def test_forecast_counts_each_attachment_once_by_its_first_stage(catalogue: Catalogue) -> None:
    failed = [finished(catalogue, Status.FAILED) for _ in range(3)]
    expired = finished(catalogue, Status.EXPIRED, code=Code.SOURCE_GONE)
    rejected = finished(catalogue, Status.REJECTED, stage=Stage.VALIDATE, code=Code.BROKEN)
    done = finished(catalogue)
    group = ("fetch_unavailable", Stage.FETCH)
    ids = (failed[0].id, expired.id, rejected.id, done.id, "0" * 32)
    found = forecast(catalogue, ReplaySelection((group,), ids, caller=API_TOKEN_CALLER))
    assert (found.resumed, found.fetched, found.expired, found.total) == (3, 2, 1, 5)
    assert forecast(catalogue, ReplaySelection((group,), since=catalogue.now() + 1, caller=API_TOKEN_CALLER)).total == 0


def an_entry() -> AuditEntry:
    return AuditEntry(Actor(who="maria", via=Via.DASHBOARD), Action.REPLAY)


def test_replay_run_replays_each_once_counts_missed_and_ends_on_errors(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [finished(catalogue, Status.FAILED, of=attachment(session="s")) for _ in range(5)]
    sent: list[str] = []

    def send(media_id: str) -> None:
        if media_id == records[1].id:
            raise PermanentError(Code.NOT_ENDED, "somebody else was faster")
        sent.append(media_id)

    class Tools:
        def __init__(self) -> None:
            self.catalogue = catalogue

    monkeypatch.setattr(bulk_run, "services", Tools)
    monkeypatch.setattr(selections, "PAGE", 2)
    action = replace(REPLAY, perform=send)
    group = ("fetch_unavailable", Stage.FETCH)
    selection = ReplaySelection((group,), (records[0].id,), caller=API_TOKEN_CALLER)
    now = BulkRun(action, selection, 5, 100, an_entry())
    asyncio.run(now.run())
    assert sorted(sent) == sorted(one.id for one in records if one is not records[1])
    assert (now.sent, now.missed, now.finished, now.fault) == (4, [records[1].id], True, None)

    def fail(_media_id: str) -> None:
        raise RetryableError(Code.CATALOGUE, "away")

    broken = BulkRun(replace(REPLAY, perform=fail), selection, 5, 100, an_entry())
    asyncio.run(broken.run())
    assert (broken.sent, broken.finished) == (0, True)
    assert isinstance(broken.fault, RetryableError)


def test_replay_run_leaves_out_what_its_caller_does_not_see(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = finished(catalogue, Status.FAILED, of=attachment(gateway="waha", session="shop"))
    others = [finished(catalogue, Status.FAILED, of=attachment(gateway="cloud", session="shop")) for _ in range(2)]
    sent: list[str] = []
    monkeypatch.setattr(bulk_run, "services", lambda: SimpleNamespace(catalogue=catalogue))
    caller = Caller("ana", Role.OPERATOR, parse_scope(["waha:shop"]))
    ids = (mine.id, others[0].id)
    selection = ReplaySelection((("fetch_unavailable", Stage.FETCH),), ids, caller=caller)
    assert forecast(catalogue, selection).total == 1
    run = BulkRun(replace(REPLAY, perform=sent.append), selection, 1, 100, an_entry())
    asyncio.run(run.run())
    assert (sent, run.missed) == ([mine.id], [others[0].id])
    kept = BulkRuns()
    kept.last = run
    assert kept.visible_to(API_TOKEN_CALLER) is kept.visible_to(caller) is run
    assert kept.visible_to(Caller("bob", Role.OPERATOR, caller.scope)) is None


def test_bulk_actions_run_one_at_a_time() -> None:
    def a_run() -> BulkRun:
        return BulkRun(REPLAY, ReplaySelection(), 0, 1, an_entry())

    async def two() -> tuple[bool, bool]:
        kept, runs = BulkRuns(), [a_run(), a_run()]
        first, second = (kept.start(run) for run in runs)
        kept.dismiss()
        return first, not second and kept.last is runs[0]

    assert asyncio.run(two()) == (True, True)


def all_matching(catalogue: Catalogue, **query: str) -> MediaSelection:
    return MediaSelection(TableQuery.of(query), catalogue.now() + 1, None, API_TOKEN_CALLER)


def selected(catalogue: Catalogue, selection: MediaSelection, action: BulkAction) -> set[str]:
    return {media_id for page in selection.pages(catalogue, action) for media_id in page}


def test_selection_of_all_that_match_has_what_the_action_applies_to(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selections, "PAGE", 2)
    done = [finished(catalogue, of=attachment(filename=f"invoice {n}.jpg")).id for n in range(3)]
    failed = [finished(catalogue, Status.FAILED, of=attachment(session="other")).id for _ in range(3)]
    waiting = catalogue.accept(attachment(filename="invoice w.jpg")).id
    everything = all_matching(catalogue)
    assert selected(catalogue, everything, DELETE) == {*done, *failed}
    assert selected(catalogue, everything, REPLAY) == set(failed)
    assert selected(catalogue, everything, CANCEL) == {waiting}
    assert (everything.count(catalogue, DELETE), everything.count(catalogue, CANCEL)) == (6, 1)
    assert selected(catalogue, all_matching(catalogue, session="other"), DELETE) == set(failed)
    searched = all_matching(catalogue, search="invoice")
    assert selected(catalogue, searched, DELETE) == set(done)
    assert (searched.count(catalogue, DELETE), searched.count(catalogue, CANCEL)) == (3, 1)
    assert selected(catalogue, all_matching(catalogue, status="done"), REPLAY) == set()


def test_selection_leaves_out_later_arrivals_and_other_sessions(catalogue: Catalogue) -> None:
    old = finished(catalogue, Status.FAILED, of=attachment(session="shop"))
    finished(catalogue, Status.FAILED, of=attachment(session="other"))
    caller = Caller("ana", Role.ADMIN, parse_scope(["*:shop"]))
    query = TableQuery.of({})
    for selection in (
        MediaSelection(query, old.received_at + 1, None, caller),
        MediaSelection(query, 0, (old.id, "0" * 32), caller),
        MediaSelection(TableQuery.of({"search": "media.example"}), 0, (old.id,), caller),
    ):
        assert selected(catalogue, selection, REPLAY) == {old.id}
    assert selected(catalogue, MediaSelection(query, old.received_at, None, caller), REPLAY) == set()
    assert selected(catalogue, MediaSelection(query, old.received_at + 1, (), caller), REPLAY) == set(), "nothing"
