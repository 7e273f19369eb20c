"""Times are shown in the zone of the browser, in the format of the language, with the zone's name on hover."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pipeline.models import Status
from tests.support.browser import browser
from tests.support.catalogues import finished
from tests.support.system import RunningSystem
from tests.support.web_server import WebServer


@pytest.mark.parametrize(
    ("zone", "language", "hours", "pattern", "named"),
    [
        (
            "America/Sao_Paulo",
            "pt-BR",
            -3,
            "%d/%m/%Y %H:%M:%S",
            "Horário Padrão de Brasília (America/Sao_Paulo, GMT-3)",
        ),
        ("Asia/Tokyo", "en-US", 9, "%Y-%m-%d %H:%M:%S", "Japan Standard Time (Asia/Tokyo, GMT+9)"),
    ],
)
def test_times_are_in_the_zone_of_the_browser(
    system: RunningSystem, server: WebServer, zone: str, language: str, hours: int, pattern: str, named: str
) -> None:
    record = finished(system.services.catalogue, Status.FAILED, of=system.attachment(url="http://127.0.0.1:9/x"))
    system.services.catalogue.pauses.add("session", "other")
    at = datetime.fromtimestamp(record.received_at / 1000, UTC) + timedelta(hours=hours)
    with browser(server, language=language, zone=zone) as someone:
        page = someone.log_in("/dashboard/media")
        for path in ("/dashboard/media", "/dashboard/failures", "/dashboard/sessions", f"/dashboard/media/{record.id}"):
            page.goto(someone.url(path))
            page.wait_for_selector("main h1")
            page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
            shown = page.locator(f"main time:text-is('{at.strftime(pattern)}')").first
            shown.wait_for()
            assert shown.get_attribute("title") == named, path
            iso = str(shown.get_attribute("datetime"))
            assert abs(datetime.fromisoformat(iso).timestamp() - record.received_at / 1000) < 2
        assert someone.complaints == []


def test_times_of_winter_and_summer_have_their_own_offset(server: WebServer) -> None:
    with browser(server, zone="Europe/Berlin") as someone:
        page = someone.log_in("/dashboard/sessions")
        ms = [int(datetime(2026, month, 1, 12, tzinfo=UTC).timestamp() * 1000) for month in (1, 7)]
        shown = [page.evaluate(f"window.esteira.moment({at}, 'full', 'en')") for at in ms]
        assert [one["text"] for one in shown] == ["2026-01-01 13:00:00", "2026-07-01 14:00:00"]
        assert ["GMT+1" in shown[0]["zone"], "GMT+2" in shown[1]["zone"]] == [True, True]
        assert page.evaluate("window.esteira.moment(9e18, 'full', 'en').text") == "9000000000000000000"
