"""What the dashboard says of receivers of webhooks."""

from __future__ import annotations

import pytest

from pipeline.catalogue.delivery_models import OPENS_AFTER, Circuit, Standing
from web.dashboard.health import webhooks_line
from web.dashboard.sampler import Rows, Snapshot
from web.dashboard.view import View

AWAY = Circuit(failures=OPENS_AFTER, failing_since=1, probe_at=2)


def said(*standings: Standing, language: str = "en") -> str | None:
    rows = Rows({}, {}, 0, 0.0, (), webhooks=standings)
    return webhooks_line(View(language), Snapshot(None, rows))


def test_a_receiver_that_is_away_is_named() -> None:
    assert said(Standing("crm"), Standing("<b>bot</b>", 3, 2, 9.0, AWAY)) == (
        "Webhooks wait, for a receiver is away: <b>bot</b>."
    )


def test_events_that_were_given_up_are_counted_over_all_receivers() -> None:
    assert said(Standing("crm", undelivered=1200), Standing("bot", undelivered=34)) == (
        "1,234 webhooks were given up: esteira webhooks list shows them."
    )


@pytest.mark.parametrize("standings", [(), (Standing("crm", pending=5, circuit=Circuit(failures=1)),)])
def test_what_is_under_way_is_no_trouble(standings: tuple[Standing, ...]) -> None:
    assert said(*standings) is None


def test_nothing_is_said_while_the_catalogue_is_away() -> None:
    assert webhooks_line(View(), Snapshot(None, None)) is None
