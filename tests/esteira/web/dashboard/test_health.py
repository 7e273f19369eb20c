"""The health lines about webhooks and the intake spool."""

from __future__ import annotations

import pytest

from esteira.web.dashboard.health import spool_line, webhooks_line
from esteira.web.dashboard.status_poller import CatalogueStatus, Snapshot
from esteira.web.dashboard.view import View
from pipeline.catalogue.delivery_models import OPENS_AFTER, EndpointCircuit, EndpointStats
from pipeline.intake_spool import SpoolStatus

AWAY = EndpointCircuit(failures=OPENS_AFTER, failing_since=1, probe_at=2)


def line(*stats: EndpointStats, language: str = "en") -> str | None:
    catalogue_status = CatalogueStatus({}, {}, 0, 0, 0.0, (), webhooks=stats)
    return webhooks_line(View(language), Snapshot(None, catalogue_status))


def test_unreachable_endpoint_is_named() -> None:
    assert line(EndpointStats("crm"), EndpointStats("<b>bot</b>", 3, 2, 9.0, AWAY)) == (
        "Webhooks are waiting: unreachable endpoints: <b>bot</b>."
    )


def test_undelivered_events_are_summed_over_endpoints() -> None:
    assert line(EndpointStats("crm", undelivered=1200), EndpointStats("bot", undelivered=34)) == (
        "1,234 webhooks could not be delivered."
    )


@pytest.mark.parametrize("stats", [(), (EndpointStats("crm", pending=5, circuit=EndpointCircuit(failures=1)),)])
def test_pending_deliveries_are_no_problem(stats: tuple[EndpointStats, ...]) -> None:
    assert line(*stats) is None


def test_no_webhook_line_while_the_catalogue_is_unreachable() -> None:
    assert webhooks_line(View(), Snapshot(None, None)) is None


def spool_words(language: str, **figures: float) -> str | None:
    return spool_line(View(language), Snapshot(None, None, spool=SpoolStatus(**figures)))  # type: ignore[arg-type]


def test_spool_line_counts_what_waits_and_what_is_damaged() -> None:
    assert spool_words("en") is None
    assert spool_words("en", entries=1200, oldest_s=61.0) == (
        "Waiting in the intake spool: 1,200, the oldest for 1 min 0 s."
    )
    assert spool_words("pt-BR", entries=3, oldest_s=61.0) == (
        "À espera no spool de entrada: 3, o mais antigo há 1 min 0 s."
    )
    assert spool_words("en", entries=3, oldest_s=9.0, damaged=2) == (
        "Damaged entries of the intake spool: 2. `esteira doctor` names the folder."
    )
