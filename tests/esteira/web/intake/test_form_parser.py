"""Multipart bodies in any pieces: fields, files, and what is refused."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from esteira.web.intake.form_parser import MAX_FIELDS, MAX_FILES, FormParser, is_form, pending_of
from pipeline.errors import Code, PayloadError, PermanentError

TYPE = "multipart/form-data; boundary=xyz"


def part(disposition: str, value: bytes = b"v", *headers: str) -> bytes:
    lines = "\r\n".join((f"Content-Disposition: form-data; {disposition}", *headers))
    return b"--xyz\r\n" + lines.encode() + b"\r\n\r\n" + value + b"\r\n"


def body(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--xyz--\r\n"


def parse(data: bytes, *, max_bytes: int = 10_000, piece: int = 0, content_type: str = TYPE) -> Any:
    """The fields, and the name, type and bytes of each file."""
    parser = FormParser(content_type, max_bytes=max_bytes)
    contents: dict[int, bytes] = {}
    for start in range(0, len(data), piece or len(data) or 1):
        parser.write(data[start : start + (piece or len(data))])
        for number, pending in pending_of(parser.files):
            contents[number] = contents.get(number, b"") + bytes(pending)
    fields = parser.fields()
    return fields, [
        (f.filename, f.mimetype, contents.get(n, b"")) for n, f in enumerate(parser.files) if not f.is_absent
    ]


BYTES = st.binary(max_size=300) | st.lists(st.sampled_from([b"\r", b"\n", b"--", b"xyz", b"\r\n--xyz", b"a"])).map(
    b"".join
).filter(lambda data: b"\r\n--xyz" not in b"\r\n" + data)


@hypothesis_settings(deadline=None)
@given(BYTES.filter(lambda data: b"--xyz" not in data), st.integers(1, 50), st.text("aé🎧 ", max_size=20))
def test_form_is_the_same_in_pieces_of_any_size(content: bytes, piece: int, caption: str) -> None:
    data = body(
        part('name="caption"', caption.encode()),
        part('name="file"; filename="olá.jpg"', content, "Content-Type: image/jpeg"),
        part('name="session"', b"s"),
    )
    assert parse(data, piece=piece) == (
        {"caption": caption, "session": "s"},
        [("olá.jpg", "image/jpeg", content)],
    )


@hypothesis_settings(deadline=None)
@given(st.binary(max_size=200), st.integers(1, 20))
def test_any_bytes_are_a_form_or_a_clear_error(data: bytes, piece: int) -> None:
    for whole in (data, b"--xyz\r\n" + data, part('name="a"', data) + data):
        with suppress(PayloadError):  # any other error fails the test
            parse(whole, piece=piece)


@pytest.mark.parametrize(
    ("content_type", "data"),
    [
        ("multipart/form-data", body(part('name="a"'))),
        ("multipart/form-data; boundary=", body(part('name="a"'))),
        (f"multipart/form-data; boundary={'x' * 300}", body(part('name="a"'))),
        (TYPE, b""),
        (TYPE, b"{}"),
        (TYPE, part('name="a"')),
        (TYPE, part('name="a"') + b"--xyz-"),
        (TYPE, body(part('name="a"')).replace(b"--xyz", b"--abc")),
        (TYPE, body(part('filename="x"'))),
        (TYPE, body(b"--xyz\r\n\r\nvalue\r\n")),
        (TYPE, body(b"--xyz\r\nno header\r\n\r\nvalue\r\n")),
        (TYPE, body(part('name="a"', b"\xff"))),
        (TYPE, body(part('name="a"'), part('name="a"'))),
        (TYPE, body(part('name="a"', b"dg==", "Content-Transfer-Encoding: base64"))),
        (TYPE, body(part('name="a"', b"v", f"X-Long: {'x' * 10_000}"))),
        (TYPE, body(part('name="a"', b"v", *(f"X-{n}: 1" for n in range(50))))),
        (TYPE, body(*(part(f'name="a{n}"') for n in range(MAX_FIELDS + 1)))),
        (TYPE, body(*(part(f'name="a"; filename="{n}"') for n in range(MAX_FILES + 1)))),
        (TYPE, body(part('name="a"', b"v" * 300_001))),
    ],
)
def test_malformed_or_excessive_form_is_refused(content_type: str, data: bytes) -> None:
    for piece in (0, 7):
        with pytest.raises(PayloadError):
            parse(data, piece=piece, content_type=content_type)


def test_files_beyond_the_limit_are_refused_while_they_arrive() -> None:
    parser = FormParser(TYPE, max_bytes=1000)
    parser.write(part('name="a"; filename="1"', b"x" * 600))
    with pytest.raises(PermanentError) as caught:
        parser.write(part('name="a"; filename="2"', b"x" * 600))
    assert caught.value.code == Code.TOO_LARGE
    assert "MAX_UPLOAD_MB" in caught.value.message


def test_empty_file_input_is_no_file_and_an_empty_file_is_one() -> None:
    assert parse(body(part('name="f"; filename=""', b"", "Content-Type: application/octet-stream")))[1] == []
    assert parse(body(part('name="f"; filename="a.txt"', b"")))[1] == [("a.txt", None, b"")]


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        (TYPE, True),
        ("Multipart/Form-Data;boundary=x", True),
        ("application/json", False),
        ("", False),
        ("multipart/mixed", False),
    ],
)
def test_form_is_recognised_by_its_content_type(content_type: str, expected: bool) -> None:
    assert is_form(content_type) is expected
