"""The page Webhooks in a real browser: endpoints, deliveries, redelivery after a question, roles."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pipeline.catalogue import Action, AuditFilters, DeliveryResult, DeliveryStatus
from pipeline.security.roles import Role
from tests.support.browser import Browser
from tests.support.system import RunningSystem
from tests.support.users import user
from tests.support.waiting import wait_until
from tests.support.webhooks import announced_record, endpoints

PAGE = "/dashboard/webhooks"
OPEN = ".dialog[open]"


@pytest.fixture
def system(make_system: Callable[..., RunningSystem]) -> RunningSystem:
    crm = {"name": "crm", "url": "https://crm.example/secret-path", "types": ["media.done"]}
    return make_system(webhook_endpoints=endpoints(crm, {"name": "bot", "url": "https://bot.example/"}))


def undelivered(system: RunningSystem, endpoint: str = "crm", error: str = "the endpoint answered 500") -> str:
    """The id of a delivery that was tried and given up."""
    deliveries = system.services.catalogue.deliveries
    announced_record(system.services.catalogue, endpoint)
    [attempt] = deliveries.record_and_claim(endpoint, [], want=1, lease_s=40).attempts
    deliveries.record_and_claim(endpoint, [DeliveryResult(attempt, error)], want=0, lease_s=40)
    return attempt.id


def status(system: RunningSystem, delivery: str) -> DeliveryStatus:
    found = system.services.catalogue.deliveries.get(delivery)
    assert found
    return found.status


def test_endpoints_have_state_counts_and_lists(system: RunningSystem, someone: Browser) -> None:
    for _ in range(5):
        undelivered(system)
    announced_record(system.services.catalogue, "bot")
    page = someone.log_in(PAGE)
    crm, bot = page.locator(".endpoints tbody tr").all()
    assert "unreachable" in crm.inner_text()
    assert "Failures in a row: 5, since 20" in crm.inner_text()
    assert "the endpoint answered 500" in crm.inner_text()
    assert "only media.done" in crm.inner_text()
    assert "reachable" in bot.locator(".badge").inner_text()
    assert "secret-path" not in page.content()
    assert page.locator(".deliveries tbody tr").count() == 6
    crm.locator("a.figure").click()
    page.wait_for_url("**endpoint=crm&status=undelivered")
    page.wait_for_selector(".deliveries tbody tr >> nth=4")
    assert page.locator(".deliveries tbody tr").count() == 5
    page.select_option("#filter-status", "delivered")
    page.wait_for_url("**status=delivered")
    page.wait_for_selector("text=Nothing matches these filters.")
    page.click("main a:text-is('Clear filters') >> nth=0")
    page.wait_for_url(f"**{PAGE}")


def test_one_delivery_and_all_given_up_ones_are_delivered_again(system: RunningSystem, someone: Browser) -> None:
    first, second, third = (undelivered(system) for _ in range(3))
    page = someone.log_in(PAGE)
    page.click(".deliveries tbody tr:last-child button:text-is('Deliver again')")
    page.wait_for_selector(f"{OPEN} h2:text-is('Deliver this event to crm again?')")
    assert status(system, first) is DeliveryStatus.UNDELIVERED
    page.click(f"{OPEN} button:text-is('Deliver again')")
    page.wait_for_selector("text=1 will be delivered at once.")
    assert [status(system, one).value for one in (first, second, third)] == ["pending", "undelivered", "undelivered"]
    page.click(".endpoints button:text-is('Deliver all again…')")
    page.wait_for_selector(f"{OPEN} h2:text-is('Deliver 2 events to crm again?')")
    page.click(f"{OPEN} button:text-is('Deliver again')")
    page.wait_for_selector("text=2 will be delivered at once.")
    assert {status(system, one) for one in (first, second, third)} == {DeliveryStatus.PENDING}
    audit = system.services.catalogue.audit
    wait_until(lambda: len(audit.find(AuditFilters(action=Action.REDELIVER), limit=9)) == 2, 20)
    assert [entry.count for entry in audit.find(AuditFilters(action=Action.REDELIVER), limit=9)] == [2, 1]
    page.wait_for_selector(".log-lines li >> nth=1")
    assert "api-token · done · events: 2" in page.inner_text(".log-lines li:first-child")


def test_viewers_see_no_buttons_and_others_no_page(system: RunningSystem, someone: Browser) -> None:
    undelivered(system)
    page = someone.log_in(PAGE, token=user(system, "ana", Role.VIEWER))
    page.wait_for_selector(".deliveries tbody tr")
    assert page.locator(".deliveries button, .endpoints button, .log-lines").count() == 0
    someone.context.clear_cookies()
    page = someone.log_in(PAGE, token=user(system, "ben", Role.OPERATOR, "media:shop"))
    page.wait_for_url("**/dashboard/media")
    assert page.locator("nav.pages a[href='/dashboard/webhooks']").count() == 0


def test_errors_of_deliveries_are_in_the_language_of_the_page(system: RunningSystem, someone: Browser) -> None:
    undelivered(system, error="fetch_timeout: crm.example did not answer in time")
    page = someone.log_in(PAGE)
    page.click("details.settings summary")
    with page.expect_navigation():
        page.click("button[name=language][value=pt-BR]")
    page.wait_for_selector(".deliveries :text('fetch_timeout: crm.example não respondeu a tempo')")


def test_health_line_leads_to_what_was_given_up(system: RunningSystem, someone: Browser) -> None:
    undelivered(system)
    page = someone.log_in()
    page.wait_for_selector(".health .bad:has-text('1 webhooks could not be delivered.')")
    page.click(".health a")
    page.wait_for_selector("h1:text-is('Webhooks')")
