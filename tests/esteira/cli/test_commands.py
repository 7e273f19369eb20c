"""All commands: help, JSON, and one line instead of a traceback for faults from outside."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click import Group

from pipeline.catalogue import Catalogue
from pipeline.catalogue.schema import HEAD
from pipeline.history import HistoryOutcome
from pipeline.models import Stage
from tests.support.catalogues import claimed
from tests.support.cli_forkserver import CliForkserver, every_command
from tests.support.esteira import Installation, new_installation, write_jsonl
from tests.support.valkey import ValkeyServer

COMMANDS = [
    name
    for command in every_command()
    for name in (
        [f"{command.name} {sub}" for sub in command.commands] if isinstance(command, Group) else [command.name]
    )
]
UNKNOWN = "0" * 32
LOOPBACK = "http://127.0.0.1:9/file"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help_with_examples(command: str, forkserver: CliForkserver) -> None:
    with new_installation(forkserver) as installation:
        finished = installation.run(*command.split(), "--help")
    assert finished.code == 0
    assert f"esteira {command}" in finished.out
    assert "Example" in finished.out


def test_unknown_id_is_reported_in_one_line(installation: Installation) -> None:
    finished = installation.run("status", UNKNOWN)
    assert finished.code == 1
    assert finished.out == ""
    assert finished.err.splitlines() == [
        f"esteira: no attachment has the id {UNKNOWN}; `esteira list` shows the newest",
    ]


@pytest.mark.parametrize("arguments", [("stats",), ("workers",), ("sweep", "--older-than", "0")])
def test_unreachable_redis_is_reported_in_one_line_with_remedy(
    installation: Installation, arguments: tuple[str, ...]
) -> None:
    installation.run("submit", LOOPBACK)
    finished = installation.with_settings(REDIS_URL="redis://:hunter2@127.0.0.1:1/0").run(*arguments)
    assert finished.code == 1
    [line] = finished.err.splitlines()
    assert "Redis at 127.0.0.1:1 does not answer" in line
    assert "REDIS_URL" in line
    assert "hunter2" not in finished.err


@pytest.mark.parametrize(
    "arguments",
    [("stats",), ("list",), ("failures",), ("status", UNKNOWN), ("submit", LOOPBACK), ("replay", "--yes")],
)
def test_unreachable_database_is_reported_in_one_line(installation: Installation, arguments: tuple[str, ...]) -> None:
    away = installation.with_settings(DATABASE_URL="postgresql://user:hunter2@127.0.0.1:1/db")
    finished = away.run(*arguments)
    assert finished.code == 1
    [line] = finished.err.splitlines()
    assert "DATABASE_URL" in line
    assert "hunter2" not in finished.err


@pytest.mark.parametrize("arguments", [("stats",), ("list",), ("submit", LOOPBACK)])
def test_missing_database_is_reported_with_remedy_and_not_created(
    valkey: ValkeyServer, forkserver: CliForkserver, arguments: tuple[str, ...]
) -> None:
    with new_installation(forkserver, REDIS_URL=valkey.url) as fresh:
        finished = fresh.run(*arguments)
        assert list(fresh.folder.iterdir()) == [], "a command in the wrong folder leaves no files there"
    assert finished.code == 1
    [line] = finished.err.splitlines()
    assert f"there is no database at {fresh.folder}/esteira.db" in line
    assert "esteira start" in line
    assert "VAR_DIR" in line


def test_database_without_tables_is_reported_with_remedy(installation: Installation) -> None:
    empty = installation.folder / "empty.db"
    empty.touch()
    finished = installation.with_settings(DATABASE_URL=f"sqlite:///{empty}").run("list")
    assert finished.code == 1
    [line] = finished.err.splitlines()
    assert "has no tables" in line
    assert "esteira start" in line


def test_wrong_redis_password_is_distinguished_from_unreachable_redis(
    installation: Installation, valkey: ValkeyServer
) -> None:
    with valkey.client() as client:
        client.config_set("requirepass", "correct")
        try:
            finished = installation.with_settings(REDIS_URL=valkey.url.replace("//", "//:hunter2@")).run("stats")
        finally:
            client.config_set("requirepass", "")
    assert finished.code == 1
    [line] = finished.err.splitlines()
    assert "refuses the login" in line
    assert "PASSWORD_REDIS" in line
    assert "hunter2" not in line


@pytest.mark.parametrize("command", ["start", "list", "stats", "migrate"])
def test_invalid_settings_are_reported_by_name_and_reason(installation: Installation, command: str) -> None:
    finished = installation.with_settings(MEDIA_ATTEMPTS="none", WORKER_THREADS="0").run(command)
    assert finished.code == 2
    assert "MEDIA_ATTEMPTS 'none': Input should be a valid integer" in finished.err
    assert "WORKER_THREADS '0': Input should be greater than or equal to 1" in finished.err
    assert "Traceback" not in finished.err


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("DATABASE_URL", "sqlite:////proc/x/y.db", "DATABASE_URL: cannot write to /proc/x"),
        ("VAR_DIR", "/proc/y", "VAR_DIR: cannot write to /proc/y"),
        ("SENTRY_DSN", "nonsense", "SENTRY_DSN: must be https://key@host/number"),
    ],
)
def test_unusable_setting_is_reported_in_one_line(
    installation: Installation, name: str, value: str, message: str
) -> None:
    finished = installation.with_settings(**{name: value}).run("migrate")
    assert finished.code == 2
    [line] = finished.err.splitlines()
    assert message in line
    assert name in line
    assert "nonsense" not in line


def test_stats_json_has_the_documented_fields(installation: Installation) -> None:
    installation.run("submit", LOOPBACK)
    stats = installation.run("stats", "--json").json
    assert set(stats) == {
        *("queues", "sessions", "totals", "duration_ms", "per_minute", "oldest_unfinished_s", "pauses"),
        "intake_spool",
    }
    assert stats["sessions"] == {"cli": {"ready": 1, "running": 0}}
    assert 0 < stats["oldest_unfinished_s"] < 600
    assert set(stats["queues"]) == {"fetch", "detect", "validate", "persist", "notify", "derive"}
    assert stats["queues"]["fetch"] == {"ready": 1, "delayed": 0, "running": 0, "dead": 0}
    statuses = {"stored", "done", "rejected", "failed", "expired"}
    assert set(stats["totals"]) == statuses | {
        "received",
        "retried",
        "duplicates",
        "deduplicated",
        "fallbacks",
        "ignored",
    }
    assert stats["totals"]["received"] == 1
    assert set(stats["duration_ms"]) == {"mean", "p50", "p95", "p99"}


def test_stats_table_has_every_queue_and_total(installation: Installation) -> None:
    shown = installation.run("stats").out
    for word in ("fetch", "notify", "ready", "dead", "received 0", "fallbacks 0", "p95 –"):
        assert word in shown


def test_stats_table_has_the_ten_sessions_with_most_ready(installation: Installation, tmp_path: Path) -> None:
    lines = [
        {"session": f"s{number:02}", "message_id": f"{turn}", "url": LOOPBACK}
        for number in range(12)
        for turn in range(number + 1)
    ]
    installation.run("submit", "--jsonl", write_jsonl(tmp_path / "load.jsonl", lines))
    shown = installation.run("stats").out
    assert [word for word in shown.split() if word.startswith("s") and word[1:].isdecimal()] == [
        f"s{number:02}" for number in range(11, 1, -1)
    ]
    assert len(installation.run("stats", "--json").json["sessions"]) == 12


def test_list_applies_every_filter(installation: Installation) -> None:
    installation.run("submit", LOOPBACK, "--session", "a", "--kind", "image")
    installation.run("submit", LOOPBACK, "--session", "b")
    for filters, count in (
        ((), 2),
        (("--session", "a"), 1),
        (("--status", "received"), 2),
        (("--status", "done"), 0),
        (("--status", "done", "--status", "received"), 2),
        (("--error", "broken"), 0),
        (("--stage", "fetch"), 2),
        (("--since", "1h"), 2),
        (("--since", "2099-01-01"), 0),
        (("--since", "999999w"), 2),
        (("--limit", "1"), 1),
    ):
        assert len(installation.run("list", "--json", *filters).json) == count, filters


def test_list_footer_has_the_total(installation: Installation) -> None:
    installation.run("submit", *[LOOPBACK] * 3)
    shown = installation.run("list", "--limit", "2").out
    assert "2 of 3" in shown
    assert len(shown.splitlines()) == 4


def test_status_shows_one_attachment(installation: Installation) -> None:
    media_id = installation.run("submit", LOOPBACK, "--session", "sho\x1b[2Jp", "--json").lines[0]["id"]
    assert installation.run("status", media_id, "--json").json["session"] == "sho\x1b[2Jp"
    shown = installation.run("status", media_id).out
    assert "received" in shown
    assert "\x1b" not in shown


def test_status_shows_times_in_local_time(installation: Installation) -> None:
    media_id = installation.run("submit", LOOPBACK, "--json").lines[0]["id"]
    assert installation.run("cancel", media_id).code == 0
    shown = installation.run("status", media_id).out
    times = dict(re.findall(r"(?m)^(\w+_at) +(.+)$", shown))
    assert {"received_at", "cancelled_at", "finished_at"} <= set(times)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", value) for value in times.values()), times


def test_status_shows_the_history(installation: Installation) -> None:
    media_id = installation.run("submit", LOOPBACK, "--json").lines[0]["id"]
    assert installation.run("status", media_id, "--json").json["history"] == []
    catalogue = Catalogue(f"sqlite:///{installation.folder}/esteira.db")
    claim = claimed(catalogue, media_id)
    claim.attempt_log.start("fetch", 1)
    claim.attempt_log.finish(HistoryOutcome.RETRY, code="fetch_timeout", message="was \x1b[2J silent")
    catalogue.release(claim, stage=Stage.FETCH, attempts=1, error=None)
    (entry,) = installation.run("status", media_id, "--json").json["history"]
    assert (entry["stage"], entry["attempt"], entry["outcome"]) == ("fetch", 1, "retry")
    shown = installation.run("status", media_id).out
    assert "fetch_timeout: was" in shown
    assert "\x1b" not in shown


def test_sweep_requeues_attachments_lost_by_redis(installation: Installation, valkey: ValkeyServer) -> None:
    installation.run("submit", LOOPBACK, LOOPBACK)
    assert installation.run("sweep", "--older-than", "0", "--json").json == {"swept": 0, "handed_over": 0}
    valkey.client().flushall()
    assert installation.run("sweep", "--older-than", "0", "--json").json == {"swept": 2, "handed_over": 0}


def test_migrate_says_what_it_did(valkey: ValkeyServer, forkserver: CliForkserver) -> None:
    with new_installation(forkserver, REDIS_URL=valkey.url) as fresh:
        first, again = fresh.run("migrate"), fresh.run("migrate")
    assert (first.code, again.code) == (0, 0)
    assert first.out == f"The catalogue is created (revision {HEAD}).\n"
    assert again.out == f"The catalogue is up to date (revision {HEAD}).\n"
