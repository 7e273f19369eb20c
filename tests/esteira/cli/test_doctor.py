"""`esteira doctor`: one line per check, with its remedy, and the exit status."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli_forkserver import CliForkserver
from tests.support.disks import small_disk
from tests.support.esteira import CommandResult, Installation, new_installation
from tests.support.valkey import ValkeyServer

CHECKS = {
    *("settings", "setting names", "webhooks", "api token", "gateway secrets", "gateway servers", "disk sync"),
    "private networks",
    *("redis", "redis cluster", "redis role", "redis eviction", "redis persistence", "redis memory", "redis clock"),
    *("catalogue", "catalogue disk", "catalogue location", "catalogue journal", "catalogue integrity"),
    *("open files", "workers", "encryption keys", "unfinished", "pauses", "webhook events"),
    *("storage", "storage disk", "staging", "staging disk", "file modes", "file owners"),
    *("sandbox", "sandbox files", "sandbox calls", "sandbox network", "sandbox user", "sandbox privileges"),
    *("sandbox limits", "libmagic", "codecs", "pictures", "pdf", "antivirus", "ask gateways"),
    *("urls in events", "intake rules", "proxies"),
    *("intake spool", "intake spool entries", "intake spool disk"),
}
LOOPBACK = "http://127.0.0.1:9/file"


def findings_of(finished: CommandResult) -> dict[str, dict[str, Any]]:
    """The findings by the name of their check."""
    return {finding["check"]: finding for finding in finished.json["checks"]}


def levels(finished: CommandResult) -> set[str]:
    return {finding["level"] for finding in finished.json["checks"]}


def test_healthy_installation_passes_every_check(installation: Installation) -> None:
    finished = installation.run("doctor", "--json")
    findings = findings_of(finished)
    assert (finished.code, finished.json["ok"], finished.err) == (0, True, "")
    assert set(findings) == CHECKS
    assert {name for name, finding in findings.items() if finding["level"] != "ok"} <= {
        *("workers", "sandbox network", "sandbox limits"),
        *(["sandbox user"] if os.geteuid() == 0 else []),
    }
    assert findings["workers"]["level"] == "warn"
    assert installation.stored_files() == []
    assert list((installation.folder / "staging").iterdir()) == []


def test_doctor_prints_one_line_per_check(installation: Installation) -> None:
    lines = installation.run("doctor").out.splitlines()
    assert len(lines) == len(CHECKS)
    assert all(line.split()[0] in {"ok", "warn", "fail"} for line in lines)
    [workers] = [line for line in lines if "no worker" in line]
    assert "→ run `esteira start`" in workers


def test_misspelt_setting_is_reported_without_its_value(installation: Installation) -> None:
    (installation.folder / ".env").write_text("WEBHOK_URL=https://hunter2.example\n")
    finished = installation.with_settings(API_TOKENS="hunter2").run("doctor", "--json")
    finding = findings_of(finished)["setting names"]
    assert (finished.code, finding["level"]) == (0, "warn")
    assert finding["message"].split("; ") == [
        "WEBHOK_URL (.env) is not a setting: did you mean WEBHOOK_URL?",
        "API_TOKENS (environment) is not a setting: did you mean API_TOKEN?",
    ]
    assert "hunter2" not in finished.out + finished.err


def test_unreachable_servers_fail_alone_and_show_no_secret(installation: Installation) -> None:
    away = installation.with_settings(
        REDIS_URL="redis://:hunter2@127.0.0.1:1/0",
        DATABASE_URL="postgresql://user:hunter2@127.0.0.1:1/db",
        API_TOKEN="hunter2-token-of-the-api",
    )
    finished = away.run("doctor", "--json")
    findings = findings_of(finished)
    assert (finished.code, finished.json["ok"]) == (1, False)
    assert findings["redis"]["message"] == "127.0.0.1:1 does not answer (ConnectionError)"
    assert "REDIS_URL" in findings["redis"]["remedy"]
    assert "DATABASE_URL" in findings["catalogue"]["remedy"]
    assert {name for name, finding in findings.items() if finding["level"] == "fail"} == {"redis", "catalogue"}
    assert findings["storage"]["level"] == findings["codecs"]["level"] == "ok"
    assert "hunter2" not in finished.out + finished.err
    assert "Traceback" not in finished.err


def test_missing_database_fails_and_is_not_created(valkey: ValkeyServer, forkserver: CliForkserver) -> None:
    with new_installation(forkserver, REDIS_URL=valkey.url) as fresh:
        finished = fresh.run("doctor", "--json")
        assert not (fresh.folder / "esteira.db").exists()
    assert finished.code == 1
    assert "esteira migrate" in findings_of(finished)["catalogue"]["remedy"]


def test_tables_of_another_version_fail(installation: Installation) -> None:
    _sql(installation, "UPDATE alembic_version SET version_num = '0000'")
    finished = installation.run("doctor", "--json")
    assert finished.code == 1
    assert "revision 0000" in findings_of(finished)["catalogue"]["message"]


def test_damaged_database_fails(installation: Installation) -> None:
    installation.run("submit", *[LOOPBACK] * 20)
    [(page,)] = _sql(installation, "SELECT rootpage FROM sqlite_master WHERE name = 'ix_media_received'")
    [(size,)] = _sql(installation, "PRAGMA page_size")
    _sql(installation, "PRAGMA wal_checkpoint(TRUNCATE)")
    with (installation.folder / "esteira.db").open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(bytes(size))
    finished = installation.run("doctor", "--json")
    assert finished.code == 1
    assert findings_of(finished)["catalogue integrity"]["level"] == "fail"
    assert "restore a backup" in findings_of(finished)["catalogue integrity"]["remedy"]


def test_file_that_is_not_a_database_fails(installation: Installation) -> None:
    for path in installation.folder.glob("esteira.db*"):
        path.unlink()
    (installation.folder / "esteira.db").write_bytes(b"no database at all " * 100)
    finished = installation.run("doctor", "--json")
    assert (finished.code, finished.err) == (1, "")
    assert findings_of(finished)["catalogue"]["level"] == "fail"


@pytest.mark.parametrize("which", ["storage", "staging"])
def test_folder_that_is_not_writable_fails(installation: Installation, which: str) -> None:
    blocked = installation.folder / "blocked"
    blocked.write_text("a file where a folder should be")
    settings = {"STORAGE_URL": blocked.as_uri()} if which == "storage" else {"STAGING_DIR": str(blocked)}
    finished = installation.with_settings(**settings).run("doctor", "--json")
    findings = findings_of(finished)
    assert finished.code == 1
    assert {name for name, finding in findings.items() if finding["level"] == "fail"} == {which}
    assert str(blocked) in findings[which]["message"]


def test_full_disk_fails_and_disk_in_memory_warns(installation: Installation, tmp_path: Path) -> None:
    with small_disk(tmp_path, megabytes=1) as disk:
        finished = installation.with_settings(STORAGE_URL=disk.as_uri()).run("doctor", "--json")
        assert list(disk.rglob("doctor-*")) == []
    findings = findings_of(finished)
    assert finished.code == 1
    assert findings["storage disk"]["level"] == "fail"
    assert findings["storage"]["level"] == "warn"


def test_risky_settings_warn(installation: Installation) -> None:
    finished = installation.with_settings(INTAKE_SYNC="false", FETCH_ALLOW_PRIVATE="0.0.0.0/0").run("doctor", "--json")
    findings = findings_of(finished)
    assert finished.code == 0
    assert findings["disk sync"]["level"] == findings["private networks"]["level"] == "warn"
    assert findings["api token"]["level"] == "ok"


@pytest.mark.parametrize("token", ["", "a" * 16])
def test_missing_api_token_is_reported(installation: Installation, token: str) -> None:
    finding = findings_of(installation.with_settings(API_TOKEN=token).run("doctor", "--json"))["api token"]
    assert finding["level"] == "ok"
    for shown in ("accept only tokens of users", "no dashboard", "no links"):
        assert (shown in finding["message"]) is (not token)


@pytest.mark.parametrize("name", ["API_TOKEN", "METRICS_TOKEN"])
def test_short_token_is_a_settings_error_that_says_how_to_make_one(installation: Installation, name: str) -> None:
    finished = installation.with_settings(**{name: "fifteen-letters"}).run("stats")
    assert (finished.code, finished.out) == (2, "")
    assert name in finished.err
    assert "openssl rand -hex 32" in finished.err
    assert "fifteen-letters" not in finished.err


def test_gateway_that_keeps_files_without_its_address_is_a_warning(installation: Installation) -> None:
    secret = "a-secret-that-is-long-enough-here"
    with_secret = installation.with_settings(GOWA_WEBHOOK_SECRET=secret, WAHA_HMAC_KEY=secret)
    finding = findings_of(with_secret.run("doctor", "--json"))["gateway servers"]
    assert (finding["level"], finding["message"].partition(" is")[0]) == ("warn", "WAHA_URL, GOWA_URL")
    complete = with_secret.with_settings(GOWA_URL="http://gowa:3000", WAHA_URL="http://waha:3000")
    assert findings_of(complete.run("doctor", "--json"))["gateway servers"]["level"] == "ok"


def test_short_gateway_secrets_are_a_warning(installation: Installation) -> None:
    short = installation.with_settings(WAHA_HMAC_KEY="a-short-secret", WPPCONNECT_SECRET="a" * 16)
    finished = short.run("doctor", "--json")
    finding = findings_of(finished)["gateway secrets"]
    assert (finding["level"], finding["message"].partition(":")[0]) == ("warn", "WAHA_HMAC_KEY")
    assert "a-short-secret" not in finished.out + finished.err


def test_unusable_setting_fails_and_other_checks_run(installation: Installation) -> None:
    finished = installation.with_settings(ALLOWED_TYPES="exe", STORAGE_URL="ftp://user:hunter2@host/").run(
        "doctor", "--json"
    )
    findings = findings_of(finished)
    assert finished.code == 1
    assert findings["settings"]["level"] == findings["storage"]["level"] == "fail"
    assert findings["pdf"]["level"] == "ok"
    assert "hunter2" not in finished.out + finished.err


def test_old_unfinished_attachments_are_reported_as_queued_or_lost(
    installation: Installation, valkey: ValkeyServer
) -> None:
    impatient = installation.with_settings(SWEEP_AFTER_S="0.001")
    installation.run("submit", LOOPBACK, LOOPBACK)
    queued = findings_of(impatient.run("doctor", "--json"))["unfinished"]
    assert (queued["level"], queued["message"]) == ("ok", "2 wait for more than 0.001 s, all of them in the queue")
    valkey.client().flushall()
    lost = findings_of(impatient.run("doctor", "--json"))["unfinished"]
    assert lost["level"] == "warn"
    assert "2 of them not in the queue" in lost["message"]
    assert "esteira sweep" in lost["remedy"]


def _sql(installation: Installation, statement: str) -> list[Any]:
    with sqlite3.connect(installation.folder / "esteira.db") as connection:
        rows = connection.execute(statement).fetchall()
    connection.close()
    return rows
