"""The attachment pages in a real browser: progress, replay, cancel, delete, and hostile text."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page

from pipeline.catalogue import Action, AuditFilters
from pipeline.models import Record, Status
from tests.support import samples
from tests.support.browser import Browser, browser
from tests.support.catalogues import finished
from tests.support.media_server import Answer, MediaServer
from tests.support.system import RunningSystem, photo
from tests.support.waiting import wait_until
from tests.support.web_server import WebServer

MEDIA = "/dashboard/media"
REPLAY = "[role=group] button:text-is('Replay')"
MARKUP = (
    '"><img src=x onerror="window.ran=1"><script>window.ran=1</script>{{constructor.constructor("window.ran=1")()}}'
)
PAYLOADS = (MARKUP, "javascript:window.ran=1", "\u202egpj.exe\u202c </textarea><svg onload=window.ran=1>")


@pytest.fixture
def system(make_system: Callable[..., RunningSystem]) -> RunningSystem:
    return make_system(MEDIA_BACKOFF_MS="10")


def ended(system: RunningSystem, status: Status = Status.DONE, **fields: object) -> Record:
    """A finished attachment with this status, without content."""
    given = {"url": "http://127.0.0.1:9/x", **fields}
    return finished(system.services.catalogue, status, of=system.attachment(**given))


def names(page: Page) -> list[str]:
    return page.locator("tbody th a").all_inner_texts()


def test_failed_attachment_is_replayed_from_its_page_until_done(system: RunningSystem, someone: Browser) -> None:
    with MediaServer({"a.jpg": photo(), "b.jpg": photo()}) as media, system.workers():
        media.answers["a.jpg"] = Answer(status=503)
        page = someone.log_in(MEDIA)
        page.wait_for_selector("text=No attachments yet.")
        failing = system.submit(url=media.url("a.jpg"), filename="holiday.jpg", kind="image").id
        page.click("text=Show them")
        page.wait_for_selector("tr:has-text('holiday.jpg') .badge.failed")
        page.click("text=holiday.jpg")
        page.wait_for_selector("text=The media server is overloaded or down.")
        assert page.locator(".bad-attempt .said").all_inner_texts() == ["fetch_unavailable: 127.0.0.1 answers 503"] * 3
        del media.answers["a.jpg"]
        page.click(REPLAY)
        page.wait_for_selector("text=In progress again.")
        page.wait_for_selector(".item-head .badge.done")
        picture = page.wait_for_selector("img.whole")
        assert picture
        wait_until(lambda: picture.evaluate("one => one.naturalWidth") == 64, 20)
        assert page.locator(REPLAY).is_hidden()
        assert system.record(failing).run == 1
        page.click("summary:has-text('Earlier runs')")
        assert page.locator("details .bad-attempt").count() == 3


def test_table_updates_progress_without_a_reload(system: RunningSystem, someone: Browser) -> None:
    with MediaServer({"a.jpg": photo()}) as media:
        system.submit(url=media.url("a.jpg"), filename="waits.jpg")
        page = someone.log_in(MEDIA)
        page.wait_for_selector("tr:has-text('waits.jpg') .badge:text-is('in progress')")
        page.evaluate("window.same = true")
        with system.workers():
            page.wait_for_selector("tr:has-text('waits.jpg') .badge:text-is('done')")
        assert page.evaluate("window.same")


def test_cancel_button_cancels_a_waiting_attachment(system: RunningSystem, someone: Browser) -> None:
    waiting = system.submit(url="http://127.0.0.1:9/a.jpg").id
    page = someone.log_in(f"{MEDIA}/{waiting}")
    page.click("button:text-is('Cancel')")
    page.wait_for_selector("text=Cancelled.")
    page.wait_for_selector(".item-head .badge.rejected")
    assert system.record(waiting).error_code == "cancelled"
    assert page.locator("button:text-is('Cancel')").is_hidden()


def test_expired_attachment_is_replayed_with_a_new_source(system: RunningSystem, someone: Browser) -> None:
    record = ended(system, Status.EXPIRED)
    page = someone.log_in(f"{MEDIA}/{record.id}")
    page.click("text=Replay with a new source…")
    page.click(".dialog[open] button:text-is('Replay')")
    page.wait_for_selector(".dialog[open] [role=alert]:text-is('Enter a URL or a path, or choose a file.')")
    page.fill(".dialog[open] input >> nth=0", "ftp://media.example/a.jpg")
    page.click(".dialog[open] button:text-is('Replay')")
    page.wait_for_selector(".dialog[open] [role=alert]:has-text('must be an http:// or https:// URL')")
    with MediaServer({"new.jpg": photo()}) as media:
        page.fill(".dialog[open] input >> nth=0", media.url("new.jpg"))
        page.click(".dialog[open] button:text-is('Replay')")
        page.wait_for_selector("text=In progress again.")
        with system.workers():
            page.wait_for_selector(".item-head .badge.done")


def test_expired_attachment_is_replayed_with_a_file_of_this_device(
    system: RunningSystem, someone: Browser, tmp_path: Path
) -> None:
    record = ended(system, Status.EXPIRED)
    content = photo()
    (tmp_path / "found.jpg").write_bytes(content)
    page = someone.log_in(f"{MEDIA}/{record.id}")
    page.click("text=Replay with a new source…")
    page.set_input_files(".dialog[open] input[type=file]", tmp_path / "found.jpg")
    page.click(".dialog[open] button:text-is('Replay')")
    page.wait_for_selector("text=In progress again.")
    with system.workers():
        page.wait_for_selector(".item-head .badge.done")
    assert system.record(record.id).sha256 == hashlib.sha256(content).hexdigest()
    assert list(system.settings.staging.iterdir()) == []
    [entry] = system.services.catalogue.audit.find(AuditFilters(action=Action.NEW_SOURCE))
    assert (entry.outcome, entry.target["id"]) == ("done", record.id)


def test_delete_dialog_works_with_the_keyboard_alone(system: RunningSystem, someone: Browser) -> None:
    record = ended(system, Status.FAILED, caption="to be forgotten")
    page = someone.log_in(f"{MEDIA}/{record.id}")
    page.focus("button:text-is('Delete…')")
    page.keyboard.press("Enter")
    page.wait_for_selector(".dialog[open]")
    page.keyboard.press("Escape")
    page.wait_for_selector(".dialog[open]", state="detached")
    assert system.record(record.id).deleted_at is None
    assert page.evaluate("document.activeElement.textContent") == "Delete…", "the focus comes back"
    page.keyboard.press("Enter")
    page.wait_for_selector(".dialog[open] h2:text-is('Delete permanently?')")
    assert page.evaluate("document.activeElement.textContent") == "Delete permanently"
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Deleted.")
    page.wait_for_selector(".item-head .badge.deleted")
    assert page.locator("text=to be forgotten").count() == 0
    assert system.record(record.id).caption is None


def test_copy_button_copies_the_whole_hash(system: RunningSystem, someone: Browser) -> None:
    someone.context.grant_permissions(["clipboard-read", "clipboard-write"])
    with MediaServer({"a.jpg": photo()}) as media, system.workers():
        record = system.wait_finished(system.submit(url=media.url("a.jpg")).id)[0]
    page = someone.log_in(f"{MEDIA}/{record.id}")
    page.click("button:text-is('Copy')")
    page.wait_for_selector("button:text-is('Copied')")
    assert page.evaluate("navigator.clipboard.readText()") == record.sha256


def sought(player: Locator) -> None:
    """Seeks a visible player to the first second and waits for it."""
    wait_until(lambda: player.evaluate("one => one.readyState >= 1 && one.duration > 1"), 20)
    player.evaluate("one => { one.currentTime = 1; }")
    wait_until(lambda: player.evaluate("one => !one.seeking && one.currentTime >= 1"), 20)
    box = player.bounding_box()
    assert box
    assert box["height"] > 20


def test_sound_and_video_play_and_documents_are_downloaded(system: RunningSystem, someone: Browser) -> None:
    files = {
        "a.ogg": samples.sound("ogg", "libopus", seconds=3),
        "a.mp4": samples.video("mp4", "libx264", frames=50, movflags="faststart"),
        "a.pdf": samples.pdf_by_pdfium(),
    }
    with MediaServer(files) as media, system.workers():
        kinds = {"a.ogg": "ptt", "a.mp4": "video", "a.pdf": "document"}
        ids = {name: system.submit(url=media.url(name), kind=kind, filename=name).id for name, kind in kinds.items()}
        assert {record.status for record in system.wait_finished(*ids.values(), within_s=60)} == {Status.DONE}
    page = someone.log_in(f"{MEDIA}/{ids['a.ogg']}")
    for name, tag in (("a.ogg", "audio"), ("a.mp4", "video")):
        page.goto(someone.url(f"{MEDIA}/{ids[name]}"))
        page.wait_for_selector(f"{tag}.whole")
        sought(page.locator(f"{tag}.whole"))
    page.goto(someone.url(f"{MEDIA}/{ids['a.pdf']}"))
    page.wait_for_selector("text=This type is not shown here")
    with page.expect_download() as saved:
        page.click("a:text-is('Download')")
    assert saved.value.suggested_filename == "a.pdf"
    path = saved.value.path()
    assert path.read_bytes() == files["a.pdf"]


@pytest.mark.parametrize("payload", PAYLOADS, ids=["markup", "javascript", "direction"])
def test_api_04_text_from_strangers_never_runs(system: RunningSystem, someone: Browser, payload: str) -> None:
    fields = dict.fromkeys(("session", "message_id", "chat", "sender", "filename", "caption", "mimetype"), payload)
    of = system.attachment(url="http://127.0.0.1:9/x", **fields)
    record = finished(system.services.catalogue, Status.FAILED, of=of, message=payload)
    page = someone.log_in(MEDIA)
    spoken: list[str] = []
    page.on("dialog", lambda dialog: (spoken.append(dialog.message), dialog.dismiss()))
    for path in (MEDIA, f"{MEDIA}/{record.id}", "/dashboard/failures", "/dashboard/sessions"):
        page.goto(someone.url(path))
        page.wait_for_selector("main h1")
        if path.endswith("failures"):
            page.click("section.group summary")
            page.wait_for_selector(".singles a")
        text_of = payload if "\u202e" not in payload else "gpj.exe"
        assert text_of in str(page.evaluate("document.body.textContent")), path
        assert page.evaluate("window.ran") is None, path
        assert page.locator("img[onerror], svg[onload], a[href^='javascript:' i], main script").count() == 0
        assert [
            href
            for href in page.locator("main a").evaluate_all("all => all.map(one => one.protocol)")
            if href != "http:"
        ] == []
    assert spoken == []


def test_session_link_works_for_any_name(system: RunningSystem, someone: Browser) -> None:
    odd = "a/b?c=d&e#f %41 é\u2028 <b>"
    ended(system, session=odd, filename="own.jpg")
    ended(system, session="other", filename="other.jpg")
    page = someone.log_in(MEDIA)
    with page.expect_navigation():
        page.click("tr:has-text('own.jpg') .session a")
    page.wait_for_selector("tr:has-text('own.jpg')")
    assert names(page) == ["own.jpg"]
    assert page.input_value("#filter-session").replace("\u2028", "") == odd.replace("\u2028", "")


def test_filters_and_search_are_part_of_the_address(system: RunningSystem, someone: Browser) -> None:
    ended(system, Status.FAILED, filename="Reunião.pdf", kind="document")
    ended(system, filename="photo.jpg", kind="image", session="shop")
    ended(system, Status.FAILED, filename="clip.mp4", kind="video", session="shop")
    page = someone.log_in(MEDIA)
    assert names(page) == ["clip.mp4", "photo.jpg", "Reunião.pdf"]
    page.focus("#filter-search")
    page.keyboard.type("reuniao")
    page.keyboard.press("Enter")
    page.wait_for_url("**?search=reuniao")
    page.wait_for_selector("main table")
    assert names(page) == ["Reunião.pdf"]
    page.click("text=Clear filters")
    page.wait_for_url(f"**{MEDIA}")
    page.click("summary:text-is('Filters')")
    page.select_option("#filter-status", "failed")  # shown at once
    page.wait_for_url("**?status=failed")
    page.wait_for_selector("main table")
    assert names(page) == ["clip.mp4", "Reunião.pdf"]
    assert page.input_value("#filter-status") == "failed"
    page.fill("#filter-session", "shop")
    page.keyboard.press("Enter")
    page.wait_for_url("**session=shop**")
    page.wait_for_selector("main table")
    assert names(page) == ["clip.mp4"]
    page.goto(someone.url(f"{MEDIA}?since=yesterday"))
    page.wait_for_selector("[role=alert]:has-text('Not a valid filter: since')")


def test_paging_is_stable_while_new_attachments_arrive(system: RunningSystem, someone: Browser) -> None:
    first = [ended(system, filename=f"{number:03}.jpg") for number in range(60)]
    page = someone.log_in(MEDIA)
    seen = names(page)
    ended(system, filename="new.jpg")
    page.wait_for_selector("text=New attachments have arrived.")
    page.click("a[rel=next]")
    page.wait_for_url("**after=**")
    page.wait_for_selector("main table")
    seen += names(page)
    assert sorted(seen) == [f"{number:03}.jpg" for number in range(len(first))]
    page.click("text=Back to the newest")
    page.wait_for_selector("text=new.jpg")


@pytest.mark.parametrize("path", [MEDIA, f"{MEDIA}/{{id}}", "/dashboard/failures"])
def test_pages_fit_a_phone(system: RunningSystem, server: WebServer, path: str) -> None:
    long = "x" * 300
    record = ended(
        system, Status.FAILED, session=long, filename=f"{long[:100]}.jpg", caption=long, chat=long, sender=long
    )
    with browser(server, phone=True) as someone:
        page = someone.log_in(path.format(id=record.id))
        page.wait_for_selector("main .card:not(.hidden)")
        page.wait_for_timeout(300)
        width = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        assert width[0] <= width[1]
        assert someone.complaints == []


def test_unknown_attachment_page_says_so(someone: Browser) -> None:
    page = someone.log_in(f"{MEDIA}/{'0' * 32}")
    page.wait_for_selector("text=There is no attachment with this id.")


def test_portuguese_page_has_no_english_words(system: RunningSystem, server: WebServer) -> None:
    record = ended(system, Status.FAILED, kind="video")
    with browser(server, language="pt-BR") as someone:
        page = someone.log_in(f"{MEDIA}/{record.id}")
        page.wait_for_selector(".badge:text-is('falhou')")
        page.wait_for_selector("text=O servidor de mídia está sobrecarregado ou fora do ar.")
        told = page.inner_text("main")
        assert not re.search(r"\b(the|Replay|Delete|Details|Received|done)\b", told)
        assert someone.complaints == []
