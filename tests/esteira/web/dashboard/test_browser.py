"""The dashboard in a real browser: login, live updates, languages, themes, phone, keyboard."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pipeline.models import Status
from tests.conftest import missing
from tests.support.browser import CHROMIUM, Browser, browser
from tests.support.catalogues import finished
from tests.support.media_server import MediaServer
from tests.support.system import RunningSystem, photo
from tests.support.valkey import running_valkey
from tests.support.web_server import TOKEN, WebServer, web_server


def figure(someone: Browser, stage: int, state: str) -> str:
    return someone.page.inner_text(f".belt li:nth-child({stage}) .{state} dd")


def test_now_page_follows_a_file_through_the_stages(system: RunningSystem, someone: Browser) -> None:
    page = someone.log_in()
    page.wait_for_selector(".health .bad:has-text('No worker is running')")
    with MediaServer({"a.jpg": photo()}) as media:
        system.submit(url=media.url("a.jpg"))
        page.wait_for_selector(".belt li:nth-child(1) .ready .figure:text-is('1')")
        with system.workers():
            page.wait_for_selector("dl.small div:has(dt:text-is('done')) .figure:text-is('1')")
            page.wait_for_selector(".health .good:has-text('One worker process is running.')")
    page.wait_for_selector(".belt li:nth-child(1) .ready .figure:text-is('0')")
    assert figure(someone, 1, "running") == "0"
    assert page.inner_text(".charts section:nth-child(1) .hint").startswith("1 finished within the last hour: 1 done.")


def test_figures_lead_to_their_lists(system: RunningSystem, someone: Browser) -> None:
    for _ in range(2):
        finished(system.services.catalogue, Status.REJECTED, of=system.attachment(url="http://127.0.0.1:9/x"))
    system.submit(url="http://127.0.0.1:9/a.jpg", session="shop")
    system.submit(url="http://127.0.0.1:9/a.jpg", session="other")
    page = someone.log_in()
    for figure_of, address, rows in (
        (".belt li:nth-child(1) .ready a:text-is('2')", "**/dashboard/media?stage=fetch&status=received", 2),
        ("dl.small div:has(dt:text-is('rejected')) a:text-is('2')", "**/dashboard/media?status=rejected", 2),
        (".figures div:has(dt:text-is('unfinished')) a:text-is('2')", "**/dashboard/media?status=received", 2),
    ):
        page.goto(someone.url())
        page.click(figure_of)
        page.wait_for_url(address)
        page.wait_for_selector("tbody tr")
        assert page.locator("tbody tr").count() == rows
    page.goto(someone.url("/dashboard/sessions"))
    page.click("tr:has-text('shop') td.number a")
    page.wait_for_url("**/dashboard/media?session=shop&status=received")
    page.wait_for_selector("tbody tr")
    assert page.locator("tbody tr").count() == 1


def test_stage_buttons_pause_and_resume(system: RunningSystem, someone: Browser) -> None:
    page = someone.log_in()
    page.click("button[aria-label='Pause Fetch']")
    page.click(".dialog[open] button:text-is('Do not pause')")
    page.click("button[aria-label='Pause Fetch']")
    page.wait_for_selector(".dialog[open] h2:text-is('Pause the stage Fetch?')")
    assert system.services.catalogue.pauses.all() == [], "a click alone pauses nothing"
    page.fill(".dialog[open] input", "new server")
    page.click(".dialog[open] button:text-is('Pause')")
    page.wait_for_selector(".stage button[aria-label='Resume Fetch']")
    [pause] = system.services.catalogue.pauses.all()
    assert (pause.kind, pause.name, pause.paused_by, pause.reason) == ("stage", "fetch", "api-token", "new server")
    page.reload()
    page.wait_for_selector(".stage.paused h3:text-is('Fetch')")
    with MediaServer({"a.jpg": photo()}) as media, system.workers():
        system.submit(url=media.url("a.jpg"))
        page.wait_for_selector(".health .good:has-text('One worker process is running.')")
        page.wait_for_selector(".belt li:nth-child(1) .ready .figure:text-is('1')")
        page.click(".stage button[aria-label='Resume Fetch']")
        page.wait_for_selector("dl.small div:has(dt:text-is('done')) .figure:text-is('1')")
    assert system.services.catalogue.pauses.all() == []


def test_session_names_are_shown_as_text(system: RunningSystem, someone: Browser) -> None:
    """A session's name is shown as it is, and runs nowhere."""
    names = [
        "<img src=x onerror=alert(1)>",
        "{{ 7*7 }}",
        "`${alert(1)}`",
        "</script><script>alert(1)</script>",
        "'\";--",
    ]
    names += ["../../etc/passwd", "javascript:alert(1)"]
    for name in names:
        system.submit(url="http://127.0.0.1:9/a.jpg", session=name)
    dialogs: list[str] = []
    someone.page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    page = someone.log_in("/dashboard/sessions")
    page.wait_for_selector("tbody tr")
    assert sorted(page.locator("tbody th bdi").all_inner_texts()) == sorted(names)
    assert page.locator("main img, main script").count() == 0
    first = page.locator("tbody tr", has_text="onerror")
    first.locator("button").click()
    page.click(".dialog[open] button:text-is('Pause')")
    first.locator("button:text-is('Resume')").wait_for()
    assert [(one.kind, one.name) for one in system.services.catalogue.pauses.all()] == [("session", names[0])]
    assert dialogs == []


def test_redis_outage_is_shown_and_ends(make_system: Callable[..., RunningSystem]) -> None:
    if not CHROMIUM.exists():
        missing("chromium")
    with running_valkey() as valkey:
        system = make_system().with_redis(valkey.url)
        with web_server(system, dashboard="true") as server, browser(server) as someone:
            page = someone.log_in()
            page.wait_for_selector(".health .good span:text-is('Redis answers.')")
            valkey.stop()
            page.wait_for_selector(".health .bad:has-text('Redis has been unreachable')")
            assert page.inner_text(".health li:nth-child(2)") == "The database answers."
            valkey.start()
            page.wait_for_selector(".health .good span:text-is('Redis answers.')")
            assert someone.complaints == []
        system.close()


def test_wrong_token_is_refused_and_the_right_one_logs_in(someone: Browser) -> None:
    page = someone.page
    page.goto(someone.url("/dashboard/sessions"))
    page.fill("#token", "a guess")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert page.inner_text("[role=alert]") == "This token is wrong, has expired or was revoked."
    page.fill("#token", TOKEN)
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert page.url.endswith("/dashboard/sessions")
    assert "api-token" in page.inner_text(".side .user")
    someone.complaints = [said for said in someone.complaints if "401" not in said and "429" not in said]


def test_language_follows_the_browser_until_one_is_chosen(server: WebServer) -> None:
    with browser(server, language="pt-BR") as someone:
        page = someone.log_in()
        assert page.inner_text("h1") == "Agora"
        assert page.get_attribute("html", "lang") == "pt-BR"
        page.click("details.settings summary")
        with page.expect_navigation():
            page.click("button[name=language][value=en]")
        page.wait_for_selector("h1:text-is('Now')")
        page.goto(someone.url("/dashboard/sessions"))
        page.wait_for_selector("h1:text-is('Sessions')")
        assert page.get_attribute("html", "lang") == "en"
        assert someone.complaints == []


def background(someone: Browser) -> str:
    return str(someone.page.evaluate("getComputedStyle(document.body).backgroundColor"))


def test_appearance_follows_the_system_until_one_is_chosen(server: WebServer) -> None:
    with browser(server, dark=True) as someone:
        page = someone.log_in()
        page.wait_for_selector("body.body--dark")
        dark = background(someone)
        page.click("details.settings summary")
        with page.expect_navigation():
            page.click("button[name=theme][value=light]")
        page.wait_for_selector("body.body--light h1")
        light = background(someone)
        assert light != dark
        page.goto(someone.url("/dashboard/sessions"))
        page.wait_for_selector("body.body--light h1")
        assert background(someone) == light
        assert someone.complaints == []


@pytest.mark.parametrize("path", ["/", "/dashboard/sessions"])
def test_pages_fit_a_phone(system: RunningSystem, server: WebServer, path: str) -> None:
    system.submit(url="http://127.0.0.1:9/a.jpg", session="a session with a name that is long " + "x" * 80)
    with browser(server, phone=True) as someone:
        page = someone.log_in(path)
        page.wait_for_selector(".health .good, tbody")
        width = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        assert width[0] <= width[1]
        box = page.locator("nav.pages").bounding_box()
        assert box
        assert box["y"] + box["height"] <= 844.5, "the pages stand at the thumb"
        page.click("nav.pages a:last-child")
        page.wait_for_selector("nav.pages a:last-child[aria-current=page]")


def test_pages_work_with_the_keyboard_alone(someone: Browser) -> None:
    page = someone.log_in()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.closest('main') !== null")
    page.goto(someone.url())
    page.wait_for_selector("h1:text-is('Now')")
    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.textContent.trim()"))
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
        if reached[-1] == "Settings":
            break
    assert reached[:6] == ["Skip to the content", "Esteira", "Now", "Media", "Failures", "Sessions"]
    page.keyboard.press("Enter")
    page.wait_for_selector("details.settings[open]")


def test_pages_have_landmarks_headings_and_labels(someone: Browser) -> None:
    page = someone.log_in()
    for selector in ("main", "header", "nav[aria-label]", ".health[aria-live=polite]"):
        assert page.locator(selector).count() == 1, selector
    assert page.locator("h1").count() == 1
    for section in page.locator("main section").all():
        named = section.get_attribute("aria-labelledby")
        assert page.locator(f"#{named}").inner_text()
    assert page.locator(".chart").count() == page.locator(".chart[aria-hidden=true]").count() == 2
    for chart in page.locator(".charts section").all():
        assert chart.locator(".hint").inner_text()


def test_logout_closes_other_open_pages(someone: Browser) -> None:
    someone.log_in()
    other = someone.new_page()
    other.goto(someone.url("/dashboard/sessions"))
    other.wait_for_selector("h1:text-is('Sessions')")
    someone.page.click("details.settings summary")
    someone.page.click("text=Log out")
    someone.page.wait_for_selector("#token")
    other.wait_for_selector("#token")
    someone.complaints = [said for said in someone.complaints if "WebSocket" not in said and "403" not in said]


def test_pages_lead_to_the_login_after_a_restart_with_another_token(
    make_system: Callable[..., RunningSystem], server: WebServer
) -> None:
    with browser(server) as someone:
        page = someone.log_in()
        server.terminate()
        page.wait_for_selector("#popup[aria-hidden=false]", state="attached")
        with web_server(make_system(), dashboard="true", port=str(server.port), api_token="quite another token"):
            page.wait_for_selector("#token")
