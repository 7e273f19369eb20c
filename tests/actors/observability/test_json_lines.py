"""The quick way of a log line shows what the long way shows, and no secret passes it."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from actors.observability.json_lines import JsonLine, Stderr
from actors.observability.logging import HIDDEN, SECRET_NAME, configure_observability, scrubber
from pipeline.config.settings import load_settings
from pipeline.models import Attachment, Stage

SECRETS = ["hunter2hunter2", 'quo"ted\\secret', "señal-secreta", "line\nbreak", "x\x7fyzzy-", "bad\udcffbyte"]
SCRUB = scrubber(SECRETS)
LINE = JsonLine(
    SCRUB,
    secrets=[*SECRETS, *(repr(secret)[1:-1] for secret in SECRETS)],
    is_telling=lambda name: SECRET_NAME.search(name) is not None,
)
OURS = {"level", "timestamp", "event", "exc_info"}

WORDS = st.sampled_from(
    [
        *SECRETS,
        "https://user:pw@h/p?sig=1",
        "/hooks/wppconnect/guessed",
        "olá",
        "{",
        "\x7f",
        "\u2028",
        "\ud800",
        '"',
        "a",
    ]
)
TEXTS = st.lists(WORDS, max_size=4).map("".join) | st.text()
PLAIN = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | TEXTS
NAMES = st.sampled_from(["id", "error", "url", "media_key", "token", "note"]) | st.text(min_size=1)
VALUES = st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3))


def shown(event: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(LINE(None, "info", dict(event)))
    return found


@given(st.dictionaries(NAMES.filter(lambda name: name not in OURS), VALUES, max_size=5))
def test_the_quick_way_shows_what_the_long_way_shows(event: dict[str, Any]) -> None:
    found = shown(event)
    assert found.pop("level") == "info"
    found.pop("timestamp")
    assert found == json.loads(json.dumps(SCRUB(event)))


@given(st.dictionaries(NAMES.filter(lambda name: name not in OURS), VALUES, max_size=5))
def test_a_line_is_one_line_of_plain_ascii(event: dict[str, Any]) -> None:
    line = LINE(None, "info", dict(event))
    assert line.isascii()
    assert line.isprintable()


@pytest.mark.parametrize("secret", SECRETS)
def test_a_known_secret_is_hidden_wherever_it_stands(secret: str) -> None:
    for value in (f"it is {secret}!", [secret], {"note": secret}, ValueError(secret)):
        assert HIDDEN in str(shown({"event": "x", "error": value})["error"])
        assert json.dumps(secret)[1:-1] not in LINE(None, "info", {"event": "x", "error": value})


@pytest.mark.parametrize(
    "event",
    [
        {"url": "https://h/p?sig=s3cret"},
        {"url": "https://s3cret@h/p"},
        {"note": ["POST /hooks/wppconnect/s3cret"]},
        {"media_key": "s3cret"},
        {"one": {"token": "s3cret"}},
        {"one": [[{"token": "s3cret"}]]},
        {"error": ValueError("https://h/p?sig=s3cret")},
    ],
)
def test_what_shows_by_its_place_is_hidden(event: dict[str, Any]) -> None:
    assert "s3cret" in repr(event)
    assert "s3cret" not in LINE(None, "info", {"event": "x", **event})


def test_what_a_model_does_not_show_of_itself_is_not_shown() -> None:
    attachment = Attachment(session="shop", message_id="m1", direct_path="/p?sig=s3cret", media_key="k3y" * 5)
    for value in (attachment, [attachment], {"it": attachment}):
        line = LINE(None, "info", {"event": "x", "attachment": value})
        assert "s3cret" not in line
        assert "k3y" not in line


def test_what_json_does_not_know_is_shown_in_some_way() -> None:
    found = shown(
        {"stage": Stage.FETCH, "error": KeyError("x"), "when": float("nan"), "kind": Stage, "path": Path("/a")}
    )
    assert (found["stage"], found["error"], found["path"]) == ("fetch", "KeyError('x')", "/a")
    assert shown({"raw": b"\xff"})["raw"] == repr(b"\xff")


def test_the_time_is_that_of_the_line() -> None:
    before = datetime.now(UTC)
    told = datetime.fromisoformat(shown({"event": "x"})["timestamp"])
    assert abs((told - before).total_seconds()) < 60


def test_an_exception_comes_with_its_traceback_and_without_its_secrets() -> None:
    try:
        int(f"https://u:p@h/x?sig=1 {SECRETS[0]}")
    except ValueError as error:
        found = shown({"event": "x", "exc_info": error})
    assert "Traceback" in found["exception"]
    assert "sig=1" not in found["exception"]
    assert SECRETS[0] not in found["exception"]
    assert "exc_info" not in found


class Stream:
    """A standard error that counts how it is written to."""

    def __init__(self, error: OSError | None = None) -> None:
        self.error = error
        self.written: list[str] = []

    def write(self, text: str) -> None:
        self.written.append(text)
        if self.error:
            raise self.error

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return False


def test_each_line_is_written_with_one_call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stream = Stream()
    monkeypatch.setattr(sys, "stderr", stream)
    configure_observability(load_settings(_env_file=None, var_dir=tmp_path, log_format="json"))
    try:
        logger = structlog.get_logger()
        logger.info("one", size=1)
        logger.debug("unseen")
        logger.warning("two", note="https://h/p?sig=1")
    finally:
        structlog.reset_defaults()
    assert [text.count("\n") for text in stream.written] == [1, 1]
    assert [json.loads(text)["event"] for text in stream.written] == ["one", "two"]


def test_a_full_disk_costs_the_line_and_not_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Stream(OSError(28, "No space left on device"))
    monkeypatch.setattr(sys, "stderr", stream)
    Stderr().info("a line")
    assert stream.written == ["a line\n"]
