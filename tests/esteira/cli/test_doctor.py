"""`esteira doctor`: a line for each check, the remedy, and an exit status that means something."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli_forkserver import CliForkserver
from tests.support.disks import small_disk
from tests.support.esteira import CommandResult, Installation, new_installation
from tests.support.valkey import ValkeyServer

CHECKS = {
    *("settings", "setting names", "webhooks", "api token", "disk sync", "private networks", "open files"),
    *("redis", "redis cluster", "redis role", "redis eviction", "redis persistence", "redis memory", "redis clock"),
    *("catalogue", "catalogue disk", "catalogue location", "catalogue journal", "catalogue integrity"),
    *("workers", "unfinished", "pauses", "webhook events"),
    *("storage", "storage disk", "staging", "staging disk"),
    *("sandbox", "sandbox network", "libmagic", "codecs", "pictures", "pdf", "antivirus"),
}
LOOPBACK = "http://127.0.0.1:9/file"


def found(finished: CommandResult) -> dict[str, dict[str, Any]]:
    """The findings by the names of their checks."""
    return {finding["check"]: finding for finding in finished.json["checks"]}


def levels(finished: CommandResult) -> set[str]:
    return {finding["level"] for finding in finished.json["checks"]}


def test_a_healthy_site_passes_every_check(installation: Installation) -> None:
    finished = installation.run("doctor", "--json")
    findings = found(finished)
    assert (finished.code, finished.json["ok"], finished.err) == (0, True, "")
    assert set(findings) == CHECKS
    assert {name for name, finding in findings.items() if finding["level"] != "ok"} <= {"workers", "sandbox network"}
    assert findings["workers"]["level"] == "warn"
    assert installation.stored_files() == []
    assert list((installation.folder / "staging").iterdir()) == []


def test_people_get_a_line_for_each_check(installation: Installation) -> None:
    lines = installation.run("doctor").out.splitlines()
    assert len(lines) == len(CHECKS)
    assert all(line.split()[0] in {"ok", "warn", "fail"} for line in lines)
    [workers] = [line for line in lines if "no worker" in line]
    assert "→ run `esteira start`" in workers


def test_a_misspelt_setting_is_told_without_its_value(installation: Installation) -> None:
    (installation.folder / ".env").write_text("WEBHOK_URL=https://hunter2.example\n")
    finished = installation.with_settings(API_TOKENS="hunter2").run("doctor", "--json")
    finding = found(finished)["setting names"]
    assert (finished.code, finding["level"]) == (0, "warn")
    assert finding["message"].split("; ") == [
        "WEBHOK_URL (.env) is no setting: WEBHOOK_URL is",
        "API_TOKENS (environment) is no setting: API_TOKEN is",
    ]
    assert "hunter2" not in finished.out + finished.err


def test_what_is_away_fails_alone_and_shows_no_secret(installation: Installation) -> None:
    away = installation.with_settings(
        REDIS_URL="redis://:hunter2@127.0.0.1:1/0",
        DATABASE_URL="postgresql://user:hunter2@127.0.0.1:1/db",
        API_TOKEN="hunter2-token",
    )
    finished = away.run("doctor", "--json")
    findings = found(finished)
    assert (finished.code, finished.json["ok"]) == (1, False)
    assert findings["redis"]["message"] == "127.0.0.1:1 does not answer (ConnectionError)"
    assert "REDIS_URL" in findings["redis"]["remedy"]
    assert "DATABASE_URL" in findings["catalogue"]["remedy"]
    assert {name for name, finding in findings.items() if finding["level"] == "fail"} == {"redis", "catalogue"}
    assert findings["storage"]["level"] == findings["codecs"]["level"] == "ok"
    assert "hunter2" not in finished.out + finished.err
    assert "Traceback" not in finished.err


def test_a_catalogue_that_was_never_made_fails_and_is_not_made(valkey: ValkeyServer, esteira: CliForkserver) -> None:
    with new_installation(esteira, REDIS_URL=valkey.url) as fresh:
        finished = fresh.run("doctor", "--json")
        assert not (fresh.folder / "esteira.db").exists()
    assert finished.code == 1
    assert "esteira migrate" in found(finished)["catalogue"]["remedy"]


def test_tables_of_another_version_fail(installation: Installation) -> None:
    _sql(installation, "UPDATE alembic_version SET version_num = '0000'")
    finished = installation.run("doctor", "--json")
    assert finished.code == 1
    assert "revision 0000" in found(finished)["catalogue"]["message"]


def test_a_damaged_catalogue_fails(installation: Installation) -> None:
    installation.run("submit", *[LOOPBACK] * 20)
    [(page,)] = _sql(installation, "SELECT rootpage FROM sqlite_master WHERE name = 'ix_media_received'")
    [(size,)] = _sql(installation, "PRAGMA page_size")
    _sql(installation, "PRAGMA wal_checkpoint(TRUNCATE)")
    with (installation.folder / "esteira.db").open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(bytes(size))
    finished = installation.run("doctor", "--json")
    assert finished.code == 1
    assert found(finished)["catalogue integrity"]["level"] == "fail"
    assert "restore a backup" in found(finished)["catalogue integrity"]["remedy"]


def test_a_file_that_is_no_database_fails(installation: Installation) -> None:
    for path in installation.folder.glob("esteira.db*"):
        path.unlink()
    (installation.folder / "esteira.db").write_bytes(b"no database at all " * 100)
    finished = installation.run("doctor", "--json")
    assert (finished.code, finished.err) == (1, "")
    assert found(finished)["catalogue"]["level"] == "fail"


@pytest.mark.parametrize("which", ["storage", "staging"])
def test_a_place_that_cannot_be_written_fails(installation: Installation, which: str) -> None:
    blocked = installation.folder / "blocked"
    blocked.write_text("a file where a folder should be")
    given = {"STORAGE_URL": blocked.as_uri()} if which == "storage" else {"STAGING_DIR": str(blocked)}
    finished = installation.with_settings(**given).run("doctor", "--json")
    findings = found(finished)
    assert finished.code == 1
    assert {name for name, finding in findings.items() if finding["level"] == "fail"} == {which}
    assert str(blocked) in findings[which]["message"]


def test_a_disk_without_room_fails_and_one_in_memory_is_told(installation: Installation, tmp_path: Path) -> None:
    with small_disk(tmp_path, megabytes=1) as disk:
        finished = installation.with_settings(STORAGE_URL=disk.as_uri()).run("doctor", "--json")
        assert list(disk.rglob("doctor-*")) == []
    findings = found(finished)
    assert finished.code == 1
    assert findings["storage disk"]["level"] == "fail"
    assert findings["storage"]["level"] == "warn"


def test_risky_settings_warn_and_do_not_fail(installation: Installation) -> None:
    finished = installation.with_settings(INTAKE_SYNC="false", FETCH_ALLOW_PRIVATE="0.0.0.0/0").run("doctor", "--json")
    findings = found(finished)
    assert finished.code == 0
    assert findings["disk sync"]["level"] == findings["private networks"]["level"] == "warn"
    assert findings["api token"]["level"] == "ok"


@pytest.mark.parametrize(("token", "level"), [("", "ok"), ("short", "warn"), ("a" * 16, "ok")])
def test_a_token_that_lets_nobody_into_the_dashboard_is_told(
    installation: Installation, token: str, level: str
) -> None:
    finding = found(installation.with_settings(API_TOKEN=token).run("doctor", "--json"))["api token"]
    assert finding["level"] == level
    assert ("no dashboard" in finding["message"]) is (len(token) < 16)


def test_a_setting_that_cannot_be_used_fails_and_the_rest_is_looked_at(installation: Installation) -> None:
    finished = installation.with_settings(ALLOWED_TYPES="exe", STORAGE_URL="ftp://user:hunter2@host/").run(
        "doctor", "--json"
    )
    findings = found(finished)
    assert finished.code == 1
    assert findings["settings"]["level"] == findings["storage"]["level"] == "fail"
    assert findings["pdf"]["level"] == "ok"
    assert "hunter2" not in finished.out + finished.err


def test_what_waits_for_too_long_is_told_and_whether_the_belt_has_it(
    installation: Installation, valkey: ValkeyServer
) -> None:
    impatient = installation.with_settings(SWEEP_AFTER_S="0.001")
    installation.run("submit", LOOPBACK, LOOPBACK)
    waiting = found(impatient.run("doctor", "--json"))["unfinished"]
    assert (waiting["level"], waiting["message"]) == ("ok", "2 wait for more than 0.001 s, all of them in the queue")
    valkey.client().flushall()
    lost = found(impatient.run("doctor", "--json"))["unfinished"]
    assert lost["level"] == "warn"
    assert "2 of them not in the queue" in lost["message"]
    assert "esteira sweep" in lost["remedy"]


def _sql(installation: Installation, statement: str) -> list[Any]:
    with sqlite3.connect(installation.folder / "esteira.db") as connection:
        rows = connection.execute(statement).fetchall()
    connection.close()
    return rows
