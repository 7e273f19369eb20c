"""`esteira webhooks list` and `redeliver`, with nobody at work."""

from __future__ import annotations

from contextlib import closing

import pytest

from pipeline.catalogue import Catalogue, DeliveryResult
from tests.support.esteira import Installation
from tests.support.webhooks import SECRET, announced_record, endpoints


@pytest.fixture
def crm(installation: Installation) -> Installation:
    """An installation with an endpoint, an event that waits for it, and one that was given up."""
    with closing(Catalogue(f"sqlite:///{installation.folder}/esteira.db")) as catalogue:
        announced_record(catalogue, "crm")
        [parcel] = catalogue.deliveries.record_and_claim("crm", [], want=1, lease_s=40).attempts
        catalogue.deliveries.record_and_claim(
            "crm", [DeliveryResult(parcel, "the endpoint answered 500")], want=0, lease_s=40
        )
        announced_record(catalogue, "crm", session="s2")
    return installation.with_settings(
        WEBHOOK_ENDPOINTS=endpoints({"name": "crm", "url": "http://127.0.0.1:9/secret-path"})
    )


def test_the_list_shows_endpoints_and_what_they_have_not_got(crm: Installation) -> None:
    shown = crm.run("webhooks", "list")
    assert shown.code == 0, shown.err
    for word in ("crm", "http://127.0.0.1:9", "closed", "undelivered", "pending", "media.done", "answered 500"):
        assert word in shown.out
    assert "secret-path" not in shown.out
    assert SECRET not in shown.out
    found = crm.run("webhooks", "list", "--status", "pending", "--json").json
    assert [one["session"] for one in found["deliveries"]] == ["s2"]
    assert (found["endpoints"][0]["pending"], found["endpoints"][0]["undelivered"]) == (1, 1)
    assert crm.run("webhooks", "list", "--since", "1h", "--endpoint", "other", "--json").json["deliveries"] == []


def test_a_redelivery_is_counted_asked_about_and_made(crm: Installation) -> None:
    dry = crm.run("webhooks", "redeliver", "--endpoint", "crm", "--dry-run", "--json").json
    assert dry["matched"] == 1
    asked = crm.run("webhooks", "redeliver", "--endpoint", "crm")
    assert (asked.code, "--yes" in asked.err) == (2, True)
    made = crm.run("webhooks", "redeliver", "--endpoint", "crm", "--yes", "--json")
    assert made.json == {"matched": 1, "redelivered": 1, "missed": []}
    assert crm.run("webhooks", "list", "--json").json["endpoints"][0]["pending"] == 2


def test_named_ones_go_without_a_question_and_what_cannot_is_named(crm: Installation) -> None:
    [lost] = crm.run("webhooks", "redeliver", "--dry-run", "--json").json["ids"]
    made = crm.run("webhooks", "redeliver", lost, "0" * 32, "--json")
    assert (made.code, made.json["missed"]) == (1, ["0" * 32])
    assert "0" * 32 in made.err
    both = crm.run("webhooks", "redeliver", lost, "--endpoint", "crm")
    assert (both.code, "ids or filters" in both.err) == (2, True)


def test_the_doctor_tells_of_what_was_given_up(crm: Installation) -> None:
    findings = {one["check"]: one for one in crm.run("doctor", "--json").json["checks"]}
    assert findings["webhooks"]["message"] == "signed, to crm"
    assert findings["webhook events"]["level"] == "warn"
    assert "crm: 1 wait, 1 given up" in findings["webhook events"]["message"]


def test_the_doctor_minds_captions_that_go_out_in_clear(installation: Installation) -> None:
    open_ = installation.with_settings(WEBHOOK_ENDPOINTS=endpoints({"name": "crm", "url": "http://crm.example/"}))
    findings = {one["check"]: one for one in open_.run("doctor", "--json").json["checks"]}
    assert findings["webhooks"]["level"] == "warn"
