"""`esteira replay`: selection, confirmation and new sources."""

from __future__ import annotations

import base64
import json
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from tests.support.esteira import Installation

REJECTED_URL = "ftp://127.0.0.1/file"  # is `rejected` at once, without any server


@pytest.fixture
def rejected(installation: Installation) -> list[str]:
    """IDs of three rejected attachments, oldest first. Redis is unreachable here, so they are processed inline."""
    away = installation.with_settings(REDIS_URL="redis://127.0.0.1:1/0")
    lines = away.run("submit", *[REJECTED_URL] * 3, "--json").lines
    assert [(line["mode"], line["status"]) for line in lines] == [("inline", "rejected")] * 3
    return [line["id"] for line in lines]


def test_dry_run_lists_the_selection_and_changes_nothing(installation: Installation, rejected: list[str]) -> None:
    dry_run = installation.run("replay", "--status", "rejected", "--dry-run", "--json")
    assert dry_run.json == {"matched": 3, "ids": rejected, "missed": []}
    assert "3 would be replayed" in installation.run("replay", "--status", "rejected", "--dry-run").out
    assert len(installation.run("list", "--status", "rejected", "--json").json) == 3


def test_replay_by_filters_needs_a_confirmation(installation: Installation, rejected: list[str]) -> None:
    finished = installation.run("replay", "--status", "rejected")
    assert finished.code == 2
    assert "3 would be replayed" in finished.err
    assert "--yes" in finished.err
    assert len(installation.run("list", "--status", "rejected", "--json").json) == 3


def test_filters_select_attachments(installation: Installation, rejected: list[str]) -> None:
    assert installation.run("replay", "--yes", "--json").json["matched"] == 0  # the default is --status failed
    assert installation.run("replay", "--error", "broken", "--yes", "--json").json["matched"] == 0
    replayed = installation.run("replay", "--error", "url_scheme", "--yes", "--json")
    assert replayed.json == {"matched": 3, "replayed": 3, "missed": []}
    assert len(installation.run("list", "--status", "received", "--json").json) == 3


def test_replay_by_id_needs_no_confirmation(installation: Installation, rejected: list[str]) -> None:
    assert installation.run("replay", rejected[0]).out == "1 of 1 replayed\n"
    assert installation.run("status", rejected[0], "--json").json["run"] == 1


def test_new_url_replaces_the_old_one(installation: Installation, rejected: list[str]) -> None:
    assert installation.run("replay", rejected[0], "--url", "http://127.0.0.1:9/new").code == 0
    assert installation.run("status", rejected[0], "--json").json["stage"] == "fetch"


def test_replay_reports_refused_ids_and_replays_the_others(installation: Installation, rejected: list[str]) -> None:
    waiting = installation.run("submit", "http://127.0.0.1:9/file", "--json").lines[0]["id"]
    finished = installation.run("replay", "f" * 32, waiting, rejected[0], "--json")
    assert finished.code == 1
    assert finished.json == {"matched": 3, "replayed": 1, "missed": ["f" * 32, waiting]}
    assert f"{'f' * 32}: unknown" in finished.err
    assert f"{waiting}: the attachment is received" in finished.err


def test_dry_run_reports_refused_ids(installation: Installation, rejected: list[str]) -> None:
    finished = installation.run("replay", "f" * 32, rejected[0], "--dry-run", "--json")
    assert finished.code == 1
    assert finished.json == {"matched": 2, "ids": [rejected[0]], "missed": ["f" * 32]}
    assert f"{'f' * 32}: unknown" in finished.err
    assert "1 would be replayed" in installation.run("replay", "f" * 32, rejected[0], "--dry-run").out


def test_rate_is_accepted(installation: Installation, rejected: list[str]) -> None:
    finished = installation.run("replay", "--status", "rejected", "--yes", "--rate", "2", "--json")
    assert finished.json["replayed"] == 3
    records = [installation.run("status", media_id, "--json").json for media_id in rejected]
    assert {record["run"] for record in records} == {1}


def payload(installation: Installation, media_id: str) -> dict[str, Any]:
    """The payload that the catalogue keeps for a replay of this attachment."""
    with closing(sqlite3.connect(installation.folder / "esteira.db")) as catalogue:
        return dict(json.loads(*catalogue.execute("SELECT payload FROM media WHERE id = ?", (media_id,)).fetchone()))


def test_new_path_and_its_media_key_are_saved(installation: Installation, rejected: list[str]) -> None:
    key = base64.b64encode(bytes(range(32))).decode()
    options = ("--direct-path", "/v/t62.7118-24/new.enc?oe=6ABCDEF0", "--media-key-file", "-")
    assert installation.run("replay", rejected[0], *options, stdin=f"{key}\n").code == 0
    kept = payload(installation, rejected[0])
    assert (kept["direct_path"], kept["media_key"]) == ("/v/t62.7118-24/new.enc?oe=6ABCDEF0", key)
    assert "url" not in kept


def test_media_key_is_replaced_or_removed(installation: Installation, rejected: list[str]) -> None:
    key = installation.folder / "key"
    key.write_text(bytes(range(32)).hex())
    url = ("--url", "http://127.0.0.1:9/new")
    assert installation.run("replay", rejected[0], *url, "--media-key-file", key).code == 0
    assert payload(installation, rejected[0])["media_key"] == bytes(range(32)).hex()
    assert installation.run("replay", rejected[1], *url, "--no-media-key").code == 0
    assert "media_key" not in payload(installation, rejected[1])


def test_local_file_is_uploaded_before_the_command_ends(installation: Installation, rejected: list[str]) -> None:
    file = installation.folder / "again.jpg"
    file.write_bytes(b"a picture")
    assert installation.run("replay", rejected[0], "--file", file).code == 0
    assert (installation.folder / "media" / "intake" / rejected[0]).read_bytes() == b"a picture"
    assert "url" not in payload(installation, rejected[0])


@pytest.mark.parametrize(
    ("options", "option"),
    [
        (("--direct-path", "v/new"), "--direct-path"),
        (("--direct-path", ""), "--direct-path"),
        (("--media-key-file", "-"), "--media-key-file"),  # stdin is empty
        (("--media-key-file", "/no/such/file"), "--media-key-file"),
        (("--media-key-file", "-", "--no-media-key"), "--no-media-key"),
        (("--file", "/no/such/file"), "--file"),
        (("--file", "/etc/hostname", "--url", "http://127.0.0.1:9/new"), "--file"),
    ],
)
def test_invalid_source_is_reported_by_option(
    installation: Installation, rejected: list[str], options: tuple[str, ...], option: str
) -> None:
    finished = installation.run("replay", rejected[0], *options)
    assert finished.code == 2
    assert option in finished.err
    assert installation.run("status", rejected[0], "--json").json["run"] == 0


def test_contradicting_options_are_wrong_usage(installation: Installation, rejected: list[str]) -> None:
    assert installation.run("replay", *rejected, "--url", "http://127.0.0.1:9/new").code == 2
    assert installation.run("replay", "--url", "http://127.0.0.1:9/new").code == 2
    assert installation.run("replay", "--status", "rejected", "--yes", "--no-media-key").code == 2
    assert installation.run("replay", rejected[0], "--status", "failed").code == 2
    for url in ("", "ftp://127.0.0.1/x", "/x", "https://", "https://[", "https://127.0.0.1/" + "x" * 20_000):
        finished = installation.run("replay", rejected[0], "--url", url)
        assert finished.code == 2, url
        assert "--url" in finished.err
    assert installation.run("status", rejected[0], "--json").json["run"] == 0
    assert installation.run("replay", "--status", "done").code == 2
    assert installation.run("replay", "--rate", "0").code == 2


def test_replay_while_redis_is_away_reopens_and_says_when_it_is_processed(
    installation: Installation, rejected: list[str]
) -> None:
    away = installation.with_settings(REDIS_URL="redis://:hunter2@127.0.0.1:1/0")
    finished = away.run("replay", "--status", "rejected", "--yes", "--json")
    assert finished.code == 0
    assert finished.json == {"matched": 3, "replayed": 3, "missed": []}
    assert "Redis at 127.0.0.1:1 does not answer: 3 reopened, and processed when Redis is back" in finished.err
    assert "hunter2" not in finished.err
    records = [installation.run("status", media_id, "--json").json for media_id in rejected]
    assert {(record["status"], record["run"]) for record in records} == {("received", 1)}
    assert installation.run("sweep", "--older-than", "0", "--json").json == {"swept": 3, "handed_over": 0}
