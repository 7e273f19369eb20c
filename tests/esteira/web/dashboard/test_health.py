"""What the dashboard says of receivers of webhooks."""

from __future__ import annotations

import pytest

from esteira.web.dashboard.health import webhooks_line
from esteira.web.dashboard.status_poller import Rows, Snapshot
from esteira.web.dashboard.view import View
from pipeline.catalogue.delivery_models import OPENS_AFTER, EndpointCircuit, EndpointStats

AWAY = EndpointCircuit(failures=OPENS_AFTER, failing_since=1, probe_at=2)


def said(*standings: EndpointStats, language: str = "en") -> str | None:
    rows = Rows({}, {}, 0, 0.0, (), webhooks=standings)
    return webhooks_line(View(language), Snapshot(None, rows))


def test_a_receiver_that_is_away_is_named() -> None:
    assert said(EndpointStats("crm"), EndpointStats("<b>bot</b>", 3, 2, 9.0, AWAY)) == (
        "Webhooks wait, for a receiver is away: <b>bot</b>."
    )


def test_events_that_were_given_up_are_counted_over_all_receivers() -> None:
    assert said(EndpointStats("crm", undelivered=1200), EndpointStats("bot", undelivered=34)) == (
        "1,234 webhooks were given up: esteira webhooks list shows them."
    )


@pytest.mark.parametrize("standings", [(), (EndpointStats("crm", pending=5, circuit=EndpointCircuit(failures=1)),)])
def test_what_is_under_way_is_no_trouble(standings: tuple[EndpointStats, ...]) -> None:
    assert said(*standings) is None


def test_nothing_is_said_while_the_catalogue_is_away() -> None:
    assert webhooks_line(View(), Snapshot(None, None)) is None
