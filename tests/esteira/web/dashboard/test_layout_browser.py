"""The layout with long, joined and right-to-left names, and settings that nothing covers, also on a phone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

from pipeline.models import Status
from tests.support.browser import browser
from tests.support.catalogues import finished
from tests.support.system import RunningSystem
from tests.support.web_server import WebServer

NAMES = (
    "atendimento_comercial_regional_sudeste_unidade_000",  # 50 characters without a blank
    "x" * 50,
    "\U0001f468\u200d\U0001f469\u200d\U0001f467\U0001f680" * 8,
    "\u0645\u062a\u062c\u0631 \u0627\u0644\u0647\u0648\u0627\u062a\u0641",
)
PAGES = (
    "/",
    "/dashboard/media",
    "/dashboard/failures",
    "/dashboard/sessions",
    "/dashboard/webhooks",
    "/dashboard/audit",
)
# Buttons and links that stick out of the window, or are cut by it.
OUTSIDE = """() => [...document.querySelectorAll("main button, main a, main input, main select")]
  .filter((one) => one.offsetParent && !one.closest("dialog, .visually-hidden"))
  .map((one) => [one.textContent, one.getBoundingClientRect()])
  .filter(([, box]) => box.width && (box.left < 0 || box.right > window.innerWidth + 0.5))
  .map(([words, box]) => `${words} ${box.left}-${box.right}`)"""
# Buttons whose words are broken into several lines within.
BROKEN = """() => [...document.querySelectorAll("main td button, main .notice button")]
  .filter((one) => one.offsetParent && one.getBoundingClientRect().height > 42)
  .map((one) => one.textContent)"""
# What lies over the middle of each control of the open settings.
COVERED = """() => [...document.querySelectorAll(".settings-panel button")].filter((one) => {
  const box = one.getBoundingClientRect();
  const inside = box.left >= 0 && box.right <= window.innerWidth && box.top >= 0 && box.bottom <= window.innerHeight;
  return !inside || !one.contains(document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2));
}).map((one) => one.textContent)"""


def fill(system: RunningSystem) -> None:
    for name in NAMES:
        system.submit(url="http://127.0.0.1:9/a.jpg", session=name, filename=f"{name}.jpg")
        attachment = system.attachment(url="http://127.0.0.1:9/x", session=name, filename=f"{name * 2}.jpg")
        finished(system.services.catalogue, Status.FAILED, of=attachment)
        system.services.catalogue.pauses.add("session", name, paused_by=name, reason=name * 3)


def check(page: Page, path: str) -> None:
    width = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert width[0] <= width[1], path
    assert page.evaluate(OUTSIDE) == [], path
    assert page.evaluate(BROKEN) == [], path


def opened_pages(server: WebServer, *, phone: bool) -> Iterator[tuple[Page, str]]:
    """Each page, opened in Portuguese by someone who has logged in, once it is built."""
    with browser(server, phone=phone, language="pt-BR") as someone:
        page = someone.log_in()
        for path in PAGES:
            page.goto(someone.url(path))
            page.wait_for_selector("main h1")
            page.wait_for_selector(".paused-now li")
            yield page, path


@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
def test_pages_hold_long_and_right_to_left_names(system: RunningSystem, server: WebServer, phone: bool) -> None:
    fill(system)
    for page, path in opened_pages(server, phone=phone):
        page.evaluate("document.querySelectorAll('main details').forEach((one) => { one.open = true; })")
        page.wait_for_timeout(700)
        check(page, path)


@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
def test_settings_are_covered_by_nothing(system: RunningSystem, server: WebServer, phone: bool) -> None:
    fill(system)
    for page, path in opened_pages(server, phone=phone):
        page.click("details.settings summary")
        assert page.locator(".settings-panel button").count() == 7
        assert page.evaluate(COVERED) == [], path
        page.keyboard.press("Escape")
        assert page.locator(".settings-panel").is_hidden()
