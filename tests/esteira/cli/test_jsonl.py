"""Lines of JSON: a wrong one is named by its number and field, the others go on."""

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
    wrong: list[tuple[str, str]] = []
    return list(attachments(io.BytesIO(b"\n".join(lines)), lambda *told: wrong.append(told))), wrong


def test_every_good_line_is_an_attachment_with_its_place() -> None:
    found, wrong = read(GOOD, GOOD)
    assert [place for place, _ in found] == ["line 1", "line 2"]
    assert found[0][1].url == "https://example.com/a"
    assert wrong == []


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b'{"session": "s", "url": "https://e.com"}', "message_id: Field required"),
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
def test_a_wrong_line_is_named_and_the_others_go_on(line: bytes, fault: str) -> None:
    found, wrong = read(GOOD, line, GOOD)
    assert [place for place, _ in found] == ["line 1", "line 3"]
    [(place, told)] = wrong
    assert place == "line 2"
    assert told.startswith(fault)


def test_blank_lines_are_no_attachments_but_count_as_lines() -> None:
    found, wrong = read(b"", GOOD, b"  ", b"{}")
    assert [place for place, _ in found] == ["line 2"]
    assert [place for place, _ in wrong] == ["line 4"]


def test_lines_are_read_one_by_one() -> None:
    def endless() -> Iterator[bytes]:
        return itertools.repeat(GOOD)

    first = list(itertools.islice(attachments(endless(), lambda *_: None), 3))
    assert len(first) == 3


@given(st.lists(st.one_of(st.binary(max_size=40), st.recursive(st.none() | st.text(), st.lists).map(json.dumps))))
def test_whatever_stands_in_a_file_every_line_is_read_or_told_of(lines: list[bytes | str]) -> None:
    raw = [line.encode() if isinstance(line, str) else line.replace(b"\n", b" ") for line in lines]
    found, wrong = read(*raw)
    blank = sum(not line.strip() for line in raw)
    assert len(found) + len(wrong) + blank == len(raw)
