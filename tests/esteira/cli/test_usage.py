"""Wrong usage of any command: exit status 2, nothing on stdout, and a message that says what to do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tests.esteira.cli.test_commands import COMMANDS
from tests.support.cli_forkserver import CliForkserver, every_command
from tests.support.esteira import Installation, new_installation

LOOPBACK = "http://127.0.0.1:9/file"
ID = "0" * 32
WRONG = (
    ("status", "Missing argument"),
    ("delete", "Missing argument"),
    ("check", "Missing argument"),
    ("link", "Missing argument"),
    ("token", "Missing argument"),
    ("pause stage", "Missing argument"),
    ("pause stage nope", "there is no stage 'nope': give one of fetch, detect"),
    ("resume stage nope", "there is no stage 'nope'"),
    ("pause host a", "'host' is not one of"),
    ("resume", "give `stage NAME`"),
    ("resume --all stage fetch", "give `stage NAME`"),
    ("cancel", "give either ids or filters"),
    (f"cancel {ID} --session a", "give either ids or filters"),
    (f"replay {ID} --session a", "give either ids or filters"),
    (f"webhooks redeliver {ID} --endpoint a", "give either ids or filters"),
    ("webhooks redeliver --status done", "'done' is not one of"),
    ("list --status faild", "'faild' is not one of"),
    ("list --since soon", "neither an age such as 30m"),
    ("list --limit 0", "not in the range"),
    ("list --statu done", "Did you mean"),
    ("failures --language xx", "'xx' is not one of"),
    ("derive --kind song", "'song' is not one of"),
    ("sweep --older-than -1", "not in the range"),
    ("replay --rate 0", "not in the range"),
    (f"replay {ID} --file /no/such", "does not exist"),
    ("submit", "give SOURCEs or --jsonl"),
    ("submit /no/such", "neither a URL nor a readable file"),
    ("submit --jsonl /no/such", "No such file"),
    ("submit --jsonl /", "Is a directory"),
    ("start --workers 0", "not in the range"),
    ("audit --json --jsonl", "either --json or --jsonl"),
)
EMPTY_FILTERS = (
    *("list --session", "list --error", "replay --yes --session", "replay --yes --error", "cancel --yes --session"),
    *("derive --yes --session", "failures --session", "webhooks list --endpoint", "webhooks redeliver --yes --session"),
)


def text_of(message: str) -> str:
    """A message without the frame that it is printed in."""
    return " ".join(message.replace("│", " ").split())


@pytest.fixture(scope="module")
def nowhere(forkserver: CliForkserver) -> Iterator[Installation]:
    """An installation whose folder has no database: usage is checked before anything is opened."""
    with new_installation(forkserver, REDIS_URL="redis://127.0.0.1:1/0") as installation:
        yield installation


@pytest.mark.parametrize(("words", "message"), WRONG)
def test_wrong_usage_exits_2_and_says_why(nowhere: Installation, words: str, message: str) -> None:
    finished = nowhere.run(*words.split())
    assert (finished.code, finished.out) == (2, ""), finished.err
    assert message in text_of(finished.err)
    assert list(nowhere.folder.iterdir()) == []


@pytest.mark.parametrize("command", COMMANDS)
def test_unknown_option_exits_2(nowhere: Installation, command: str) -> None:
    finished = nowhere.run(*command.split(), "--no-such-option")
    assert (finished.code, finished.out) == (2, "")
    assert "No such option" in text_of(finished.err)


@pytest.mark.parametrize("words", EMPTY_FILTERS)
def test_empty_filter_is_wrong_usage_and_selects_nothing(nowhere: Installation, words: str) -> None:
    for value in ("", "  "):
        finished = nowhere.run(*words.split(), value)
        assert (finished.code, finished.out) == (2, "")
        assert "is empty" in text_of(finished.err)


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("lst", "`esteira list`"),
        ("statsu", "`esteira stats`"),
        ("ls", "`esteira list`"),
        ("retry", "`esteira replay`"),
        ("redeliver", "`esteira webhooks redeliver`"),
        ("LIST", "`esteira list`"),
        ("rotate", "`esteira rotate-keys`"),
        ("webhooks lst", "'list'"),
    ],
)
def test_wrong_command_gets_a_suggestion(nowhere: Installation, words: str, meant: str) -> None:
    finished = nowhere.run(*words.split())
    assert finished.code == 2
    assert f"Did you mean {meant}" in text_of(finished.err)


def test_command_like_no_other_leads_to_the_list_of_commands(nowhere: Installation) -> None:
    finished = nowhere.run("xyzzy")
    assert (finished.code, "`esteira --help` lists all commands" in text_of(finished.err)) == (2, True)


def test_every_group_has_examples_too(nowhere: Installation) -> None:
    groups = [command for command in every_command() if isinstance(command, click.Group)]
    assert groups
    for group in groups:
        assert "Examples:" in nowhere.run(str(group.name), "--help").out


def test_check_exits_2_for_a_file_that_cannot_be_read(nowhere: Installation, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "text.jpg").write_text("text")
    for missing in (tmp_path / "missing.jpg", tmp_path, tmp_path / "pipe"):
        finished = nowhere.run("check", missing)
        assert (finished.code, finished.lines[0]["error_code"]) == (2, "no_source")
    assert nowhere.run("check", tmp_path / "missing.jpg", tmp_path / "text.jpg").code == 1
