"""The audit log of the dashboard: every action of its pages is recorded, and the page Audit log shows the entries."""

from __future__ import annotations

import ast
import re
import time
from pathlib import Path

import pytest
from playwright.sync_api import Page

import esteira.web.dashboard
from pipeline.catalogue import Action, Actor, AuditFilters, AuditOutcome, AuditRecord, Via
from pipeline.models import Record, Status
from tests.support.browser import Browser, browser
from tests.support.catalogues import finished
from tests.support.system import RunningSystem
from tests.support.waiting import wait_until
from tests.support.web_server import TOKEN, WebServer

AUDIT, MEDIA, FAILURES = "/dashboard/audit", "/dashboard/media", "/dashboard/failures"
HOSTILE = "\x1b[31m<img src=x onerror='window.ran=1'>{{window.ran=1}}\u202e\nnext"
# What changes something, and the modules of the dashboard that may call it: each records it.
CHANGES = {"replay_without_waiting", "replay", "cancel", "delete", "pause", "resume", "redeliver", "enqueue_preview"}
RECORDING = {
    "attachments/actions.py",
    "attachments/source_uploads.py",
    "bulk/actions.py",
    "pauses/buttons.py",
    "webhooks/redelivery.py",
}


def entries(system: RunningSystem, **filters: object) -> list[AuditRecord]:
    return system.services.catalogue.audit.find(AuditFilters(**filters), limit=1000)  # type: ignore[arg-type]


def the_entry(system: RunningSystem, action: Action) -> AuditRecord:
    """The only entry of this action, once it is completed."""
    wait_until(lambda: [one for one in entries(system, action=action) if one.ended_at is not None], 20)
    [entry] = entries(system, action=action)
    assert (entry.who, entry.role, entry.via, entry.source) == ("api-token", "admin", "dashboard", "127.0.0.1")
    return entry


def failed(system: RunningSystem, session: str = "shop") -> Record:
    attachment = system.attachment(url="http://127.0.0.1:9/x", session=session)
    return finished(system.services.catalogue, Status.FAILED, of=attachment)


def given(system: RunningSystem, who: str, action: Action, **target: object) -> None:
    actor = Actor(who=who, role="operator", token_id="t1", via=Via.API, source="192.0.2.7")
    audit = system.services.catalogue.audit
    audit.complete(audit.begin(actor, action, target), AuditOutcome.FAILED, count=3, detail={"error": "catalogue"})


def test_only_recording_modules_of_the_dashboard_change_anything() -> None:
    folder = Path(esteira.web.dashboard.__file__).parent
    changing = {
        str(path.relative_to(folder))
        for path in folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("actors.")
        if CHANGES & {alias.name for alias in node.names}
    }
    assert changing == RECORDING


def test_login_failed_login_and_logout_are_recorded(system: RunningSystem, someone: Browser) -> None:
    page = someone.page
    page.goto(someone.url("/login"))
    page.fill("#token", "not the token")
    page.keyboard.press("Enter")
    page.wait_for_selector("#fault")
    someone.complaints.clear()  # the browser reports the 401
    someone.log_in()
    page.click("details.settings summary")
    page.click("button:text-is('Log out')")
    page.wait_for_selector("#token")
    logout, login, refused = sorted(entries(system), key=lambda entry: -entry.at)
    assert [entry.action for entry in (logout, login, refused)] == ["logout", "login", "login"]
    assert (login.who, login.role, login.outcome, logout.outcome) == ("api-token", "admin", "done", "done")
    assert (refused.who, refused.role, refused.outcome, refused.count) == ("anonymous", None, "refused", 0)
    assert {entry.source for entry in (logout, login, refused)} == {"127.0.0.1"}


def test_buttons_of_an_attachment_are_recorded(system: RunningSystem, someone: Browser) -> None:
    replayed, renewed, removed = (failed(system).id for _ in range(3))
    waiting = system.submit(url="http://127.0.0.1:9/x").id
    page = someone.log_in(f"{MEDIA}/{replayed}")
    page.click("[role=group] button:text-is('Replay')")
    page.wait_for_selector("text=In progress again.")
    page.goto(someone.url(f"{MEDIA}/{renewed}"))
    page.click("text=Replay with a new source…")
    page.fill(".dialog[open] input >> nth=0", "http://127.0.0.1:9/new?sig=hush")
    page.click(".dialog[open] button:text-is('Replay')")
    page.wait_for_selector("text=In progress again.")
    page.goto(someone.url(f"{MEDIA}/{removed}"))
    page.click("button:text-is('Delete…')")
    page.click(".dialog[open] button:text-is('Delete permanently')")
    page.wait_for_selector("text=Deleted.")
    page.goto(someone.url(f"{MEDIA}/{waiting}"))
    page.click("button:text-is('Cancel')")
    page.wait_for_selector("text=Cancelled.")
    for action, media_id in (
        (Action.REPLAY, replayed),
        (Action.NEW_SOURCE, renewed),
        (Action.DELETE, removed),
        (Action.CANCEL, waiting),
    ):
        entry = the_entry(system, action)
        assert (entry.outcome, entry.count, entry.target) == ("done", 1, {"id": media_id})


def test_pausing_and_resuming_are_recorded(system: RunningSystem, someone: Browser) -> None:
    page = someone.log_in()
    page.click(".belt li:nth-child(5) button:text-is('Pause')")
    page.click(".dialog[open] button:text-is('Pause')")
    page.click(".belt li:nth-child(5) button:text-is('Resume')")
    for action in (Action.PAUSE, Action.RESUME):
        entry = the_entry(system, action)
        assert (entry.outcome, entry.count, entry.target) == ("done", 1, {"stage": "notify"})


def test_bulk_replay_is_one_entry_with_its_count(system: RunningSystem, someone: Browser) -> None:
    for _ in range(3):
        failed(system)
    page = someone.log_in(FAILURES)
    page.check(".group .tick")
    page.click(".bar button:text-is('Replay')")
    page.wait_for_selector(".round :text('Done: 3 of 3 are in progress again.')")
    entry = the_entry(system, Action.REPLAY)
    assert (entry.outcome, entry.count, entry.target["matched"]) == ("done", 3, 3)
    assert entry.target["groups"] == ["fetch_unavailable:fetch"]


def test_stopped_bulk_replay_has_the_count_so_far(system: RunningSystem, someone: Browser) -> None:
    for _ in range(40):
        failed(system)
    page = someone.log_in(FAILURES)
    page.check(".group .tick")
    page.select_option("#rate", "1")
    page.click(".bar button:text-is('Replay')")
    wait_until(lambda: [entry for entry in entries(system, action=Action.REPLAY) if entry.count > 0], 20)
    page.click(".round button:text-is('Stop')")
    page.wait_for_selector(".round :text('Stopped:')")
    entry = the_entry(system, Action.REPLAY)
    assert (entry.outcome, entry.detail) == ("interrupted", {"stopped_by": "api-token"})
    assert 0 < entry.count < 40


def rows(page: Page) -> list[str]:
    return page.locator("main tbody tr th span:first-child").all_inner_texts()


def test_page_filters_by_user_and_action_and_turns_pages(system: RunningSystem, someone: Browser) -> None:
    for _ in range(51):
        given(system, "maria", Action.REPLAY, session="shop")
    time.sleep(0.005)  # entries of the same millisecond have no order
    given(system, "joão", Action.DELETE, id="0" * 32)
    page = someone.log_in(AUDIT)
    page.wait_for_selector("main tbody")
    assert rows(page)[:2] == ["api-token", "joão"]
    page.click("a:text-is('Older')")
    page.wait_for_selector("a:text-is('Back to the newest')")
    assert len(rows(page)) == 3
    page.fill("#filter-who", "joão")
    page.click("button:text-is('Show')")
    page.wait_for_selector("text=Clear filters")
    assert rows(page) == ["joão"]
    assert page.inner_text("main tbody td.details") == f"id={'0' * 32} → error=catalogue"
    page.select_option("#filter-action", "replay")
    page.wait_for_selector("text=No entries.")
    assert "who=jo%C3%A3o" in page.url
    assert "action=replay" in page.url
    page.goto(someone.url(f"{AUDIT}?action=unknown"))
    page.wait_for_selector("[role=alert]:has-text('Not a valid filter: action')")
    page.goto(someone.url(f"{AUDIT}?after=nonsense"))
    page.wait_for_selector("[role=alert]")


def test_hostile_text_is_shown_and_never_runs(system: RunningSystem, someone: Browser) -> None:
    given(system, HOSTILE, Action.PAUSE, session=HOSTILE)
    page = someone.log_in(f"{AUDIT}?action=pause")
    page.wait_for_selector("main tbody")
    shown = page.inner_text("main tbody")
    assert "<img src=x onerror=" in shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    page.wait_for_timeout(300)
    assert page.evaluate("window.ran") is None


@pytest.mark.parametrize("language", ["en-US", "pt-BR"])
def test_page_fits_a_phone_in_both_languages(system: RunningSystem, server: WebServer, language: str) -> None:
    given(system, "maria" + "x" * 200, Action.REPLAY, ids=["0" * 32, "1" * 32], session="y" * 290)
    with browser(server, language=language, phone=True, dark=True) as someone:
        page = someone.log_in(AUDIT)
        page.wait_for_selector("main tbody")
        width = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        assert width[0] <= width[1]
        if language == "pt-BR":
            assert page.inner_text("h1") == "Auditoria"
            assert not re.search(r"\b(Show|Result|failed|replay|Details|Since)\b", page.inner_text("main"))
        assert someone.complaints == []


def test_api_token_never_reaches_the_log(system: RunningSystem, someone: Browser) -> None:
    page = someone.log_in(AUDIT)
    page.wait_for_selector("main tbody")
    assert TOKEN not in page.content()
    assert TOKEN not in "".join(entry.model_dump_json() for entry in entries(system))
