"""Pauses on the pages: the question, the banner, and attachments that wait."""

from __future__ import annotations

from tests.support.browser import Browser
from tests.support.system import RunningSystem

LONG = "atendimento_comercial_regional_sudeste_unidade_000"


def test_banner_says_since_when_by_whom_and_why_on_every_page(system: RunningSystem, someone: Browser) -> None:
    system.services.catalogue.pauses.add("session", LONG, paused_by="ana", reason="<b>new phone</b>")
    page = someone.log_in()
    for path in ("/", "/dashboard/media", "/dashboard/failures", "/dashboard/sessions", "/dashboard/audit"):
        page.goto(someone.url(path))
        page.wait_for_selector(f".paused-now:has-text('Session {LONG} paused since 20')")
        assert page.inner_text(".paused-words").endswith(" by ana: <b>new phone</b>")
    page.click(".paused-now button")
    page.wait_for_selector(".paused-now", state="hidden")
    assert system.services.catalogue.pauses.all() == []


def test_banner_appears_on_open_pages_after_a_pause(system: RunningSystem, someone: Browser) -> None:
    system.submit(url="http://127.0.0.1:9/a.jpg", session="shop")
    page = someone.log_in("/dashboard/sessions")
    other = someone.new_page()
    other.goto(someone.url("/dashboard/media"))
    other.wait_for_selector("tbody tr")
    assert other.locator(".paused-now").is_hidden()
    page.click("button[aria-label='Pause shop']")
    page.click(".dialog[open] button:text-is('Pause')")
    page.wait_for_selector(".session-name .badge:has-text('paused since')")
    other.wait_for_selector(".paused-now:has-text('Session shop paused since')")
    other.wait_for_selector("td.stands:has-text('waits: session shop paused since')")
    page.click("td button[aria-label='Resume shop']")
    other.wait_for_selector(".paused-now", state="hidden")
    other.wait_for_selector("td.stands .hint:text-is('Fetch')")


def test_page_of_an_attachment_says_that_it_waits_for_a_pause(system: RunningSystem, someone: Browser) -> None:
    system.services.catalogue.pauses.add("stage", "fetch")
    waiting = system.submit(url="http://127.0.0.1:9/a.jpg").id
    page = someone.log_in(f"/dashboard/media/{waiting}")
    page.wait_for_selector("p.notice:has-text('waits: stage Fetch paused since 20')")
    page.click(".paused-now button")
    page.wait_for_selector("p.notice:has-text('waits')", state="hidden")
