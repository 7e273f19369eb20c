"""`esteira pause`, `resume`, `pauses`, `cancel`: output, confirmation and exit status."""

from __future__ import annotations

import pytest

from tests.support.esteira import Installation

LOOPBACK = "http://127.0.0.1:9/file"
UNKNOWN = "0" * 32


def test_pauses_are_listed_until_resumed(installation: Installation) -> None:
    assert installation.run("pauses").err == "Nothing is paused.\n"
    assert installation.run("pause", "stage", "notify").out == "stage notify is paused\n"
    assert installation.run("pause", "stage", "notify").out == "stage notify was already paused\n"
    assert installation.run("pause", "session", "shop", "--reason", "new phone").code == 0
    pauses = installation.run("pauses", "--json").json
    assert [(pause["kind"], pause["name"]) for pause in pauses] == [("stage", "notify"), ("session", "shop")]
    assert [(pause["paused_by"], pause["reason"]) for pause in pauses] == [("cli", None), ("cli", "new phone")]
    assert installation.run("stats", "--json").json["pauses"] == pauses
    assert "stage notify  session shop" in installation.run("stats").out
    doctor = installation.run("doctor", "--json")
    [finding] = [check for check in doctor.json["checks"] if check["check"] == "pauses"]
    assert (finding["level"], "stage 'notify', session 'shop'" in finding["message"]) == ("warn", True)
    assert installation.run("resume", "session", "shop").out == "session shop is resumed\n"
    assert installation.run("resume", "session", "shop").out == "session shop was not paused\n"
    assert installation.run("resume", "--all").out == "stage notify is resumed\n"
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
def test_unclear_arguments_are_wrong_usage(installation: Installation, arguments: tuple[str, ...]) -> None:
    installation.run("submit", LOOPBACK, "--session", "shop")
    result = installation.run(*arguments)
    assert (result.code, result.out) == (2, "")
    [record] = installation.run("list", "--json").json
    assert record["status"] == "received"


def test_pause_refuses_long_reasons(installation: Installation) -> None:
    result = installation.run("pause", "session", "shop", "--reason", "x" * 201)
    assert (result.code != 0, "reason: must have at most 200 characters" in result.err) == (True, True)
    assert installation.run("pauses", "--json").json == []


def test_pause_reports_unknown_stage(installation: Installation) -> None:
    result = installation.run("pause", "stage", "fetsh")
    assert (result.code, "fetch, detect, validate, persist, notify" in result.err) == (2, True)


def test_cancel_ends_selected_attachments_only(installation: Installation) -> None:
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
