"""`esteira webhooks list` and `redeliver`, without workers."""

from __future__ import annotations

from contextlib import closing

import pytest

from pipeline.catalogue import Catalogue, DeliveryResult
from tests.support.esteira import Installation
from tests.support.webhooks import SECRET, announced_record, endpoints


@pytest.fixture
def crm(installation: Installation) -> Installation:
    """An installation with one endpoint, one pending event and one undelivered event."""
    with closing(Catalogue(f"sqlite:///{installation.folder}/esteira.db")) as catalogue:
        announced_record(catalogue, "crm")
        [attempt] = catalogue.deliveries.record_and_claim("crm", [], want=1, lease_s=40).attempts
        catalogue.deliveries.record_and_claim(
            "crm", [DeliveryResult(attempt, "the endpoint answered 500")], want=0, lease_s=40
        )
        announced_record(catalogue, "crm", session="s2")
    return installation.with_settings(
        WEBHOOK_ENDPOINTS=endpoints({"name": "crm", "url": "http://127.0.0.1:9/secret-path"})
    )


def test_list_shows_endpoints_and_waiting_deliveries(crm: Installation) -> None:
    shown = crm.run("webhooks", "list")
    assert shown.code == 0, shown.err
    for word in ("crm", "http://127.0.0.1:9", "closed", "undelivered", "pending", "media.done", "answered 500"):
        assert word in shown.out
    assert "secret-path" not in shown.out
    assert SECRET not in shown.out
    pending = crm.run("webhooks", "list", "--status", "pending", "--json").json
    assert [delivery["session"] for delivery in pending["deliveries"]] == ["s2"]
    assert (pending["endpoints"][0]["pending"], pending["endpoints"][0]["undelivered"]) == (1, 1)
    assert crm.run("webhooks", "list", "--since", "1h", "--endpoint", "other", "--json").json["deliveries"] == []


def test_redeliver_by_filters_needs_a_confirmation(crm: Installation) -> None:
    dry = crm.run("webhooks", "redeliver", "--endpoint", "crm", "--dry-run", "--json").json
    assert dry["matched"] == 1
    unconfirmed = crm.run("webhooks", "redeliver", "--endpoint", "crm")
    assert (unconfirmed.code, "--yes" in unconfirmed.err) == (2, True)
    redelivered = crm.run("webhooks", "redeliver", "--endpoint", "crm", "--yes", "--json")
    assert redelivered.json == {"matched": 1, "redelivered": 1, "missed": []}
    assert crm.run("webhooks", "list", "--json").json["endpoints"][0]["pending"] == 2


def test_redeliver_by_id_reports_why_an_id_was_missed(crm: Installation) -> None:
    [undelivered] = crm.run("webhooks", "redeliver", "--dry-run", "--json").json["ids"]
    redelivered = crm.run("webhooks", "redeliver", undelivered, "0" * 32, "--json")
    assert (redelivered.code, redelivered.json["missed"]) == (1, ["0" * 32])
    assert "0" * 32 + ": unknown" in redelivered.err
    both = crm.run("webhooks", "redeliver", undelivered, "--endpoint", "crm")
    assert (both.code, "ids or filters" in both.err) == (2, True)


def test_doctor_reports_undelivered_events(crm: Installation) -> None:
    findings = {check["check"]: check for check in crm.run("doctor", "--json").json["checks"]}
    assert findings["webhooks"]["message"] == "signed events are sent to crm"
    assert findings["webhook events"]["level"] == "warn"
    assert "crm: 1 pending, 1 given up" in findings["webhook events"]["message"]


def test_doctor_warns_of_unencrypted_endpoints(installation: Installation) -> None:
    open_ = installation.with_settings(WEBHOOK_ENDPOINTS=endpoints({"name": "crm", "url": "http://crm.example/"}))
    findings = {check["check"]: check for check in open_.run("doctor", "--json").json["checks"]}
    assert findings["webhooks"]["level"] == "warn"
