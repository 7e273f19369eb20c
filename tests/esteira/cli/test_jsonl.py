"""JSON lines: an invalid line is reported by number and field, and skipped."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esteira.cli.jsonl import attachments
from pipeline.models import Attachment

GOOD = b'{"session": "s", "message_id": "m", "url": "https://example.com/a"}'


def read(*lines: bytes) -> tuple[list[tuple[str, Attachment]], list[tuple[str, str]]]:
    errors: list[tuple[str, str]] = []
    return list(attachments(io.BytesIO(b"\n".join(lines)), lambda *error: errors.append(error))), errors


def test_valid_lines_become_attachments_with_line_numbers() -> None:
    valid, errors = read(GOOD, GOOD)
    assert [name for name, _ in valid] == ["line 1", "line 2"]
    assert valid[0][1].url == "https://example.com/a"
    assert errors == []


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b'{"session": "s", "url": "https://e.com"}', "message_id: Field required"),
        (b'{"session": " ", "message_id": "m", "url": "https://e.com"}', "session: is empty"),
        (b'{"session": "s", "message_id": "m"}', "url: one of url, data and direct_path is needed"),
        (b'{"session": "s", "message_id": "m", "url": "u", "kind": "song"}', "kind: Input should be 'image'"),
        (b'{"session": "s", "message_id": "m", "url": "u", "file_sha256": "abc"}', "file_sha256: must be a SHA-256"),
        (b"[1, 2]", "an attachment is a JSON object"),
        (b'{"session": ', "is not JSON: Expecting value at column 12"),
        (b"\xff\xfe\xfa", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"9" * 5000, "is not JSON"),
    ],
)
def test_invalid_line_is_reported_and_skipped(line: bytes, fault: str) -> None:
    valid, errors = read(GOOD, line, GOOD)
    assert [name for name, _ in valid] == ["line 1", "line 3"]
    [(name, message)] = errors
    assert name == "line 2"
    assert message.startswith(fault)


def test_blank_lines_are_skipped_and_counted() -> None:
    valid, errors = read(b"", GOOD, b"  ", b"{}")
    assert [name for name, _ in valid] == ["line 2"]
    assert [name for name, _ in errors] == ["line 4"]


def test_lines_are_read_lazily() -> None:
    def endless() -> Iterator[bytes]:
        return itertools.repeat(GOOD)

    first = list(itertools.islice(attachments(endless(), lambda *_: None), 3))
    assert len(first) == 3


@given(st.lists(st.one_of(st.binary(max_size=40), st.recursive(st.none() | st.text(), st.lists).map(json.dumps))))
def test_every_line_is_parsed_or_reported(lines: list[bytes | str]) -> None:
    raw = [line.encode() if isinstance(line, str) else line.replace(b"\n", b" ") for line in lines]
    valid, errors = read(*raw)
    blank = sum(not line.strip() for line in raw)
    assert len(valid) + len(errors) + blank == len(raw)
