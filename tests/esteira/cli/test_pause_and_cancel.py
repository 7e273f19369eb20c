"""`esteira pause`, `resume`, `pauses`, `cancel`: what they say, that they ask, and how they end."""

from __future__ import annotations

import pytest

from tests.support.esteira import Installation

LOOPBACK = "http://127.0.0.1:9/file"
UNKNOWN = "0" * 32


def test_what_is_paused_is_shown_until_it_is_resumed(installation: Installation) -> None:
    assert installation.run("pauses").out.endswith("nothing is paused\n")
    assert installation.run("pause", "stage", "notify").out == "stage notify is paused\n"
    assert installation.run("pause", "stage", "notify").out == "stage notify was paused already\n"
    assert installation.run("pause", "session", "shop").code == 0
    told = installation.run("pauses", "--json").json
    assert [(one["kind"], one["name"]) for one in told] == [("stage", "notify"), ("session", "shop")]
    assert installation.run("stats", "--json").json["pauses"] == told
    assert "stage notify  session shop" in installation.run("stats").out
    doctor = installation.run("doctor", "--json")
    [finding] = [one for one in doctor.json["checks"] if one["check"] == "pauses"]
    assert (finding["level"], "stage 'notify', session 'shop'" in finding["message"]) == ("warn", True)
    assert installation.run("resume", "session", "shop").out == "session shop goes on\n"
    assert installation.run("resume", "session", "shop").out == "session shop was not paused\n"
    assert installation.run("resume", "--all").out == "stage notify goes on\n"
    assert installation.run("pauses", "--json").json == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("pause", "stage"),
        ("pause", "host", "a"),
        ("resume",),
        ("resume", "stage"),
        ("resume", "--all", "stage", "fetch"),
        ("cancel",),
        ("cancel", UNKNOWN, "--session", "a"),
        ("cancel", "--session", "shop"),
    ],
)
def test_what_is_unclear_is_a_wrong_usage(installation: Installation, arguments: tuple[str, ...]) -> None:
    installation.run("submit", LOOPBACK, "--session", "shop")
    ended = installation.run(*arguments)
    assert (ended.code, ended.out) == (2, "")
    [record] = installation.run("list", "--json").json
    assert record["status"] == "received"


def test_a_stage_that_there_is_not_is_named(installation: Installation) -> None:
    ended = installation.run("pause", "stage", "fetsh")
    assert (ended.code, "fetch, detect, validate, persist, notify" in ended.err) == (1, True)


def test_what_filters_choose_is_cancelled_and_the_rest_is_not(installation: Installation) -> None:
    shop = [installation.run("submit", LOOPBACK, "--session", "shop", "--json").json["id"] for _ in range(2)]
    other = installation.run("submit", LOOPBACK, "--session", "other", "--json").json["id"]
    dry = installation.run("cancel", "--session", "shop", "--dry-run", "--json")
    assert (dry.code, sorted(dry.json["ids"]), dry.json["matched"]) == (0, sorted(shop), 2)
    done = installation.run("cancel", "--session", "shop", "--yes", "--json")
    assert (done.code, done.json) == (0, {"matched": 2, "cancelled": 2, "pending": 0, "missed": []})
    assert installation.run("status", shop[0], "--json").json["error_code"] == "cancelled"
    assert installation.run("status", other, "--json").json["status"] == "received"
    again = installation.run("cancel", shop[0], other, UNKNOWN, "--json")
    assert (again.code, again.json) == (1, {"matched": 3, "cancelled": 2, "pending": 0, "missed": [UNKNOWN]})
    assert UNKNOWN in again.err
    assert installation.run("replay", other, "--json").json["replayed"] == 1
