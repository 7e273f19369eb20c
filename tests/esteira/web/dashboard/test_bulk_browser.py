"""Actions on many attachments on the page Media: rows, all that match, confirmation, progress, roles."""

from __future__ import annotations

from playwright.sync_api import Page

from pipeline.catalogue import Action, AuditFilters
from pipeline.models import Record, Status
from pipeline.security.roles import Role
from tests.support.browser import Browser
from tests.support.catalogues import finished
from tests.support.system import RunningSystem
from tests.support.users import user
from tests.support.waiting import wait_until

MEDIA = "/dashboard/media"
OPEN = ".dialog[open]"


def ended(system: RunningSystem, status: Status, name: str) -> Record:
    attachment = system.attachment(url="http://127.0.0.1:9/x", filename=name)
    return finished(system.services.catalogue, status, of=attachment)


def tick(page: Page, name: str) -> None:
    page.check(f"tr:has-text('{name}') .tick")


def test_selected_rows_are_replayed(system: RunningSystem, someone: Browser) -> None:
    first, second, third = (ended(system, Status.FAILED, f"{name}.jpg") for name in ("one", "two", "three"))
    page = someone.log_in(MEDIA)
    page.wait_for_selector("tbody tr")
    assert page.locator(".bar").is_hidden()
    tick(page, "one.jpg")
    tick(page, "two.jpg")
    page.wait_for_selector(".bar :text('Selected: 2.')")
    page.click(".bar button:text-is('Replay…')")
    page.wait_for_selector(f"{OPEN} h2:text-is('Replay 2 attachments?')")
    assert system.record(first.id).run == 0
    page.click(f"{OPEN} button:text-is('Replay')")
    page.wait_for_selector(".round :text('Done: 2 of 2 are in progress again.')")
    assert [system.record(one.id).run for one in (first, second, third)] == [1, 1, 0]
    wait_until(
        lambda: system.services.catalogue.audit.find(AuditFilters(action=Action.REPLAY), limit=9)[0].ended_at, 20
    )
    [entry] = system.services.catalogue.audit.find(AuditFilters(action=Action.REPLAY), limit=9)
    assert (entry.count, entry.via, sorted(entry.target["ids"])) == (2, "dashboard", sorted([first.id, second.id]))


def test_all_that_match_are_deleted_after_their_number_was_typed(system: RunningSystem, someone: Browser) -> None:
    matching = [ended(system, Status.FAILED, f"{n:02}.jpg") for n in range(55)]  # more than a page
    kept = ended(system, Status.DONE, "kept.jpg")
    page = someone.log_in(MEDIA)
    page.goto(someone.url(f"{MEDIA}?status=failed"))
    page.wait_for_selector("tbody tr")
    page.check("thead .tick")
    page.wait_for_selector(".bar :text('Selected: 50.')")
    page.click(".bar button:text-is('Select all that match')")
    page.wait_for_selector(".bar :text('All that match the filters are selected.')")
    page.click(".bar button:text-is('Delete…')")
    page.wait_for_selector(f"{OPEN} h2:text-is('Delete 55 attachments permanently?')")
    page.select_option("#bulk-rate", "100")
    page.click(f"{OPEN} button:text-is('Delete permanently')")
    page.wait_for_selector(f"{OPEN} [role=alert]:text-is('That is not the number.')")
    page.fill(f"{OPEN} input", "55")
    page.click(f"{OPEN} button:text-is('Delete permanently')")
    page.wait_for_selector(".round :text('Done: 55 of 55 are deleted.')")
    assert all(system.record(one.id).deleted_at for one in matching)
    assert system.record(kept.id).deleted_at is None


def test_waiting_attachments_are_cancelled_and_others_cannot(system: RunningSystem, someone: Browser) -> None:
    waiting = system.submit(url="http://127.0.0.1:9/a.jpg", filename="waits.jpg").id
    ended(system, Status.DONE, "done.jpg")
    page = someone.log_in(MEDIA)
    page.wait_for_selector("tbody tr")
    tick(page, "done.jpg")
    page.click(".bar button:text-is('Cancel…')")
    page.wait_for_selector(".bar :text('None of the selected can be cancelled')")
    tick(page, "waits.jpg")
    page.click(".bar button:text-is('Cancel…')")
    page.wait_for_selector(f"{OPEN} h2:text-is('Cancel 1 attachments?')")
    page.click(f"{OPEN} button:text-is('Cancel them')")
    page.wait_for_selector(".round :text('Done: 1 of 1 are cancelled')")
    assert system.record(waiting).error_code == "cancelled"


def test_bulk_actions_are_offered_by_role(system: RunningSystem, someone: Browser) -> None:
    ended(system, Status.FAILED, "one.jpg")
    for role, shown in ((Role.VIEWER, []), (Role.OPERATOR, ["Replay…", "Cancel…"])):
        someone.context.clear_cookies()
        page = someone.log_in(MEDIA, token=user(system, f"u{role}", role))
        page.wait_for_selector("tbody tr")
        assert page.locator(".bar .actions button:has-text('…')").all_inner_texts() == shown
        assert bool(page.locator("tbody .tick").count()) is bool(shown)
