"""The lines of `esteira start`: JSON with the name of the part, or text with one time."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esteira.cli.supervisor.part_lines import json_line, json_lines, text_line
from pipeline.scrubber import hide_secrets

AT = datetime(2026, 12, 1, 4, 5, 6, tzinfo=UTC)
SECRET = "hunter2-hunter2"
FORMAT = json_lines(hide_secrets([SECRET]))


def formatted(line: str) -> dict[str, object]:
    value = json.loads(FORMAT("worker", line, AT, None))
    assert isinstance(value, dict)
    return value


def test_json_line_keeps_its_fields_and_gets_its_part() -> None:
    line = {"event": "attachment finished", "ms": 7, "timestamp": "2026-12-01T00:00:00Z"}
    assert formatted(json.dumps(line)) == {"part": "worker", **line}
    assert formatted("{}") == {"part": "worker"}
    assert formatted('{"part": "other", "a": 1}') == {"part": "worker", "a": 1}


@pytest.mark.parametrize("line", ["Traceback (most recent call last):", "{", "[1]", "7", '{"a": 1} {', "", "\x1b[2Jx"])
def test_other_line_becomes_the_event_of_an_object(line: str) -> None:
    event = formatted(line)
    assert (event["part"], event["event"], event["level"]) == ("worker", line, "info")
    assert event["timestamp"] == "2026-12-01T04:05:06Z"


def test_other_line_is_printed_without_secrets() -> None:
    assert SECRET not in FORMAT("web", f"OSError: redis://:{SECRET}@host {SECRET}", AT, None)


@given(st.text())
def test_every_line_becomes_one_printable_line_of_json(line: str) -> None:
    text = FORMAT("web", line, AT, None)
    assert isinstance(json.loads(text), dict)
    assert "\n" not in text.strip()


def test_own_line_is_json_too() -> None:
    assert json.loads(json_line("start", "web", value="http://x"))["value"] == "http://x"


def test_text_line_has_time_and_part_in_colour_on_a_terminal_only() -> None:
    assert text_line("web", "ready", AT, None) == "04:05:06 web    | ready"
    assert text_line("web", "ready", AT, "36") == "\x1b[0;36m04:05:06 web    | \x1b[0mready"
