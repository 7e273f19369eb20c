"""Log lines are JSON in printable ASCII, show every value, and contain no secret."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from actors.observability.json_lines import JsonRenderer, StderrLogger
from actors.observability.logging import configure_observability
from pipeline.config.settings import load_settings
from pipeline.models import Attachment, Stage
from pipeline.scrubber import HIDDEN, Scrubber

SECRETS = ["hunter2hunter2", 'quo"ted\\secret', "señal-secreta", "line\nbreak", "x\x7fyzzy-", "bad\udcffbyte"]
SCRUB = Scrubber(SECRETS)
RENDER = JsonRenderer(SCRUB)

FRAGMENTS = [
    *SECRETS,
    *("https://user:pw@h/p?sig=1", "/hooks/wppconnect/guessed"),
    *("olá", "{", "\x7f", "\u2028", "\ud800", '"', "a"),
]
TEXTS = st.lists(st.sampled_from(FRAGMENTS), max_size=4).map("".join) | st.text()
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | st.integers(-(2**65), 2**65) | FLOATS | TEXTS
NAMES = st.sampled_from(["id", "error", "url", "media_key", "token", "note"]) | st.text(min_size=1)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3))
EVENTS = st.dictionaries(NAMES, VALUES, max_size=5)


def render(**event: Any) -> str:
    """The line of an event, as the last two processors produce it."""
    return RENDER(None, "info", SCRUB(event))


@given(EVENTS)
def test_line_has_the_scrubbed_values(event: dict[str, Any]) -> None:
    assert json.loads(render(**event)) == json.loads(json.dumps(SCRUB(event)))


@given(EVENTS)
def test_line_is_printable_ascii(event: dict[str, Any]) -> None:
    line = render(**event)
    assert line.isascii()
    assert line.isprintable()


@pytest.mark.parametrize("secret", SECRETS)
def test_known_secret_is_hidden_in_every_type_of_value(secret: str) -> None:
    for value in (f"it is {secret}!", [secret], {"note": secret}, ValueError(secret)):
        line = render(error=value)
        assert HIDDEN in line
        assert json.dumps(secret)[1:-1] not in line


@pytest.mark.parametrize(
    "event",
    [
        {"url": "https://h/p?sig=s3cret"},
        {"url": "https://s3cret@h/p"},
        {"note": ["POST /hooks/wppconnect/s3cret"]},
        {"media_key": "s3cret"},
        {"nested": {"token": "s3cret"}},
        {"nested": [[{"token": "s3cret"}]]},
        {"error": ValueError("https://h/p?sig=s3cret")},
    ],
)
def test_secret_is_hidden_because_of_its_position(event: dict[str, Any]) -> None:
    assert "s3cret" in repr(event)
    assert "s3cret" not in render(**event)


def test_models_hide_their_secret_fields() -> None:
    attachment = Attachment(session="shop", message_id="m1", direct_path="/p?sig=s3cret", media_key="k3y" * 5)
    for value in (attachment, [attachment], {"it": attachment}):
        line = render(attachment=value)
        assert "s3cret" not in line
        assert "k3y" not in line


def test_values_without_a_json_form_are_shown_by_their_repr() -> None:
    line = render(stage=Stage.FETCH, error=KeyError("x"), ratio=float("nan"), kind=Stage, path=Path("/a"), raw=b"\xff")
    shown = json.loads(line)
    assert (shown["stage"], shown["error"], shown["raw"]) == ("fetch", "KeyError('x')", repr(b"\xff"))
    assert "/a" in shown["path"]


class Stream:
    """A standard error that records each write, and may fail."""

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


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[], Stream]]:
    """A function that configures logging and returns the stream that the loggers write to."""

    def configure() -> Stream:
        stream = Stream()
        monkeypatch.setattr(sys, "stderr", stream)
        configure_observability(load_settings(_env_file=None, var_dir=tmp_path, log_format="json"))
        return stream

    yield configure
    structlog.reset_defaults()


def test_each_line_is_written_with_one_call(configure: Callable[[], Stream]) -> None:
    stderr, logger = configure(), structlog.get_logger()
    logger.info("first", size=1)
    logger.debug("below the level")
    logger.warning("second", note="https://h/p?sig=1")
    assert [text.count("\n") for text in stderr.written] == [1, 1]
    assert [json.loads(text)["event"] for text in stderr.written] == ["first", "second"]


def test_line_has_the_fields_then_event_level_and_time(configure: Callable[[], Stream]) -> None:
    stderr = configure()
    structlog.get_logger().info("done", id="a", size=1)
    line = json.loads(stderr.written[0])
    assert list(line) == ["id", "size", "event", "level", "timestamp"]
    assert line["timestamp"].endswith("Z")
    age = datetime.now(UTC) - datetime.fromisoformat(line["timestamp"])
    assert 0 <= age.total_seconds() < 60


def test_exception_is_shown_with_its_traceback_and_without_secrets(configure: Callable[[], Stream]) -> None:
    stderr = configure()
    try:
        int("https://u:p@h/x?sig=1")
    except ValueError as error:
        structlog.get_logger().error("failed", exc_info=error)
    line = json.loads(stderr.written[0])
    assert "Traceback" in line["exception"]
    assert "sig=1" not in line["exception"]
    assert "exc_info" not in line


def test_full_disk_does_not_raise(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Stream(OSError(28, "No space left on device"))
    monkeypatch.setattr(sys, "stderr", stream)
    StderrLogger().info("a line")
    assert stream.written == ["a line\n"]
