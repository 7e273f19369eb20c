"""Beginnings of IDs: every command that takes an ID accepts one that is unique."""

from __future__ import annotations

from contextlib import closing

import pytest

from pipeline.catalogue import Catalogue
from tests.support.catalogues import attachment
from tests.support.esteira import Installation
from tests.support.webhooks import announced_record, endpoints

LOOPBACK = "http://127.0.0.1:9/file"
COMMANDS = (("status",), ("cancel",), ("delete", "--yes"), ("replay",), ("replay", "--dry-run"))


@pytest.fixture
def twins(installation: Installation) -> list[str]:
    """IDs of two attachments that begin alike."""
    ids: dict[str, str] = {}
    with closing(Catalogue(f"sqlite:///{installation.folder}/esteira.db")) as catalogue:
        for number in range(5000):
            accepted = catalogue.accept(attachment(session="twins", message_id=f"m{number}"))
            twin = ids.setdefault(accepted.id[:4], accepted.id)
            if twin != accepted.id:
                return [twin, accepted.id]
    raise AssertionError("5000 IDs of which no two have the same first four characters")


def test_status_takes_a_unique_beginning(installation: Installation) -> None:
    media_id = installation.run("submit", LOOPBACK, "--json").lines[0]["id"]
    for given in (media_id[:4], media_id[:12].upper(), media_id[:31], media_id):
        assert installation.run("status", given, "--json").json["id"] == media_id


@pytest.mark.parametrize("command", COMMANDS)
def test_ambiguous_beginning_lists_the_candidates(
    installation: Installation, twins: list[str], command: tuple[str, ...]
) -> None:
    finished = installation.run(*command, twins[0][:4])
    assert (finished.code, finished.out) == (2, "")
    first, *candidates = finished.err.splitlines()
    assert f"{twins[0][:4]} is the beginning of 2 IDs" in first
    assert {line.split()[0] for line in candidates} == set(twins)
    assert all("received  twins" in line for line in candidates)
    assert installation.run("status", twins[0], "--json").json["status"] == "received"


@pytest.mark.parametrize("command", COMMANDS)
def test_short_beginning_is_wrong_usage_and_unknown_one_is_not_found(
    installation: Installation, command: tuple[str, ...]
) -> None:
    installation.run("submit", LOOPBACK)
    short = installation.run(*command, "a")
    assert (short.code, "at least the first 4 characters" in short.err) == (2, True)
    for unknown in ("0123456", "not-hex", "0" * 33, "%", "é" * 32):
        finished = installation.run(*command, unknown)
        assert finished.code == 1, unknown
        assert "`esteira list` shows the newest" in finished.err


def test_beginnings_select_for_cancel_replay_and_delete(installation: Installation) -> None:
    media_id = installation.run("submit", LOOPBACK, "--json").lines[0]["id"]
    assert installation.run("cancel", media_id[:8], media_id, "--json").json["cancelled"] == 1
    assert installation.run("replay", media_id[:8], "--json").json == {"matched": 1, "replayed": 1, "missed": []}
    assert installation.run("cancel", media_id[:8]).code == 0
    assert installation.run("delete", media_id[:8], "--yes", "--json").json == {"deleted": 1, "missed": []}
    assert installation.run("status", media_id[:8], "--json").json["status"] == "deleted"


def test_link_takes_a_unique_beginning(installation: Installation) -> None:
    media_id = installation.run("submit", LOOPBACK, "--json").lines[0]["id"]
    signed = installation.with_settings(API_TOKEN="a token of more than thirty-two characters")
    assert media_id in signed.run("link", media_id[:8]).out
    assert signed.run("link", "a").code == 2


def test_redeliver_takes_the_beginning_of_a_delivery(installation: Installation) -> None:
    with closing(Catalogue(f"sqlite:///{installation.folder}/esteira.db")) as catalogue:
        announced_record(catalogue, "crm")
    with_endpoint = installation.with_settings(
        WEBHOOK_ENDPOINTS=endpoints({"name": "crm", "url": "http://127.0.0.1:9/"})
    )
    [delivery] = with_endpoint.run("webhooks", "list", "--json").json["deliveries"]
    finished = with_endpoint.run("webhooks", "redeliver", delivery["id"][:8], "--json")
    assert finished.json == {"matched": 1, "redelivered": 1, "missed": []}
    assert with_endpoint.run("webhooks", "redeliver", "a").code == 2
