"""The page Failures in a real browser: dry run, replay of groups and attachments, progress, stop."""

from __future__ import annotations

from playwright.sync_api import Page

from pipeline.errors import Code
from pipeline.models import Record, Stage, Status
from tests.support.browser import Browser
from tests.support.catalogues import finished
from tests.support.media_server import MediaServer
from tests.support.system import RunningSystem, photo
from tests.support.waiting import wait_until

FAILURES = "/dashboard/failures"


def failed(
    system: RunningSystem, url: str, code: Code = Code.FETCH_UNAVAILABLE, status: Status = Status.FAILED
) -> Record:
    return finished(system.services.catalogue, status, of=system.attachment(url=url), stage=Stage.FETCH, code=code)


def told(page: Page) -> str:
    return page.inner_text(".bar [role=status]")


def test_group_dry_run_and_replay(system: RunningSystem, someone: Browser) -> None:
    with MediaServer({"a.jpg": photo()}) as media:
        ids = [failed(system, media.url("a.jpg")).id for _ in range(3)]
        gone = failed(system, media.url("a.jpg"), Code.SOURCE_GONE, Status.EXPIRED)
        page = someone.log_in(FAILURES)
        page.wait_for_selector("section.group:has-text('fetch_unavailable') .count:text-is('3')")
        page.click("section.group:has-text('fetch_unavailable') summary")
        page.wait_for_selector("text=Wait until it answers again, then replay.")
        assert page.locator(".bar").is_hidden()
        page.check("section.group:has-text('fetch_unavailable') .tick")
        page.check("section.group:has-text('source_gone') .tick")
        page.wait_for_selector(".bar :text('groups 2')")
        page.click("button:text-is('Dry run')")
        page.wait_for_selector(".bar :text('4 would be replayed.')")
        assert told(page).split(". ")[1:] == [
            "3 would resume at the failed stage",
            "1 would be downloaded again",
            "For 1 the source is gone: without a new source they expire again.",
        ]
        assert [system.record(one).status for one in ids] == [Status.FAILED] * 3, "a dry run sends nothing"
        page.uncheck("section.group:has-text('source_gone') .tick")
        page.wait_for_selector(".bar :text('groups 1')")
        page.click("button:text-is('Replay')")
        page.wait_for_selector(".round :text('Done: 3 of 3 are in progress again.')")
        with system.workers():
            assert {record.status for record in system.wait_finished(*ids)} == {Status.DONE}
        assert system.record(gone.id).status is Status.EXPIRED
        page.reload()
        page.wait_for_selector(".round :text('Done: 3 of 3 are in progress again.')")
        assert page.locator("section.group").count() == 1
        page.click("button:text-is('Dismiss')")
        page.wait_for_selector(".round", state="hidden")


def test_bulk_replay_continues_without_the_page_until_stopped(system: RunningSystem, someone: Browser) -> None:
    ids = [failed(system, "http://127.0.0.1:9/x").id for _ in range(40)]
    page = someone.log_in(FAILURES)
    page.check(".group .tick")
    page.select_option("#rate", "1")
    page.click("button:text-is('Replay')")
    page.wait_for_selector(".round :text('of 40 replayed.')")
    page.goto(someone.url("/dashboard/media"))
    page.wait_for_selector("main table")
    before = replayed(system, ids)
    wait_until(lambda: replayed(system, ids) > before, 30)
    page.goto(someone.url(FAILURES))
    page.wait_for_selector(".round :text('of 40 replayed.')")
    page.click("button:text-is('Stop')")
    page.wait_for_selector(".round :text('Stopped:')")
    stopped = replayed(system, ids)
    assert 0 < stopped < 40
    page.wait_for_timeout(2500)
    assert replayed(system, ids) == stopped


def replayed(system: RunningSystem, ids: list[str]) -> int:
    return sum(system.record(media_id).run for media_id in ids)


def test_single_attachments_are_selected_by_keyboard_and_missed_ones_listed(
    system: RunningSystem, someone: Browser
) -> None:
    first, second, third = (failed(system, "http://127.0.0.1:9/x") for _ in range(3))
    page = someone.log_in(FAILURES)
    page.focus("section.group summary")
    page.keyboard.press("Enter")
    page.wait_for_selector(".singles li >> nth=2")
    for record in (first, second):
        page.focus(f".singles li:has(a[href$='{record.id}']) .tick")
        page.keyboard.press("Space")
    page.wait_for_selector(".bar :text('attachments 2.')")
    page.select_option("#rate", "1")  # a second lies between the two
    # The newest goes first; the other is deleted before its turn.
    page.focus("button:text-is('Replay')")
    page.keyboard.press("Enter")
    wait_until(lambda: system.record(first.id).run == 1, 30)
    system.services.catalogue.deletions.start(second.id)
    page.wait_for_selector(".round :text('Done: 1 of 2 are in progress again.')")
    assert page.locator(".results a").all_inner_texts() == [second.id]
    assert system.record(third.id).run == 0


def test_period_is_chosen_by_tabs(system: RunningSystem, someone: Browser) -> None:
    page = someone.log_in(FAILURES)
    page.wait_for_selector("text=No attachment of the last day failed.")
    page.click("text=At any time")
    page.wait_for_selector("text=No attachment has failed.")
    assert page.inner_text(".tabs [aria-current]") == "At any time"


def test_failures_that_an_operator_can_fix_come_first(system: RunningSystem, someone: Browser) -> None:
    for _ in range(3):
        failed(system, "http://127.0.0.1:9/x", Code.BROKEN, Status.REJECTED)
    failed(system, "http://127.0.0.1:9/x", Code.STORAGE)
    page = someone.log_in(FAILURES)
    page.wait_for_selector("section.group")
    assert page.locator(".groups h2").all_inner_texts() == [
        "You can fix these",
        "The file or its sender is the cause",
    ]
    assert page.locator("section.group summary code").all_inner_texts() == ["storage", "broken"]
    heights = page.locator("section.group").evaluate_all("all => all.map(one => one.offsetHeight)")
    assert max(heights) < 100, "closed, a group is no more than a line"
    page.click("section.group:has-text('broken') .count")
    page.wait_for_selector("#filter-error >> visible=true")
    assert page.url.endswith("/dashboard/media?error=broken&stage=fetch&since=1d")
    assert page.locator("tbody tr").count() == 3


def test_empty_period_leads_to_a_longer_one(someone: Browser) -> None:
    page = someone.log_in(FAILURES)
    page.click("text=Show a longer time")
    page.wait_for_selector("text=No attachment of the last week failed. All is fine.")
