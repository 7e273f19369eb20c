"""Files in base64: the variants that gateways send, decoded in pieces, and the refusal of invalid text."""

from __future__ import annotations

import base64
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import Code, PayloadError
from pipeline.values.base64_stream import PIECE, check_base64, decode_base64, decode_base64_pieces
from tests.support.memory import peak_memory_below


def standard(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def for_urls(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode()


ALPHABETS = {"standard": standard, "for URLs": for_urls}
PADDING = {"padded": lambda text: text, "without padding": lambda text: text.rstrip("=")}
WRAPPING = {
    "bare": lambda text: text,
    "in lines": lambda text: "".join(f"{text[at : at + 76]}\r\n" for at in range(0, len(text), 76)),
    "after a long first line": lambda text: f"{text[:200]}\n{text[200:]}",
    "in spaces": lambda text: f" {text}\n",
    "as a data URL": lambda text: f"data:image/jpeg;base64,{text}",
    "as a data URL with parameters": lambda text: f" DATA:audio/ogg; codecs=opus;BASE64,\n{text}",
}


PIECES = st.sampled_from([1, 4, 5, 64, PIECE])  # small pieces put a border at every position


def decoded(text: str, piece: int = PIECE) -> bytes:
    return b"".join(decode_base64(text, piece=piece))


@pytest.mark.parametrize("wrapping", [*WRAPPING])
@pytest.mark.parametrize("padding", [*PADDING])
@pytest.mark.parametrize("alphabet", [*ALPHABETS])
@given(raw=st.binary(max_size=400), piece=PIECES)
def test_decode_reads_every_variant_of_base64(
    alphabet: str, padding: str, wrapping: str, raw: bytes, piece: int
) -> None:
    assert decoded(WRAPPING[wrapping](PADDING[padding](ALPHABETS[alphabet](raw))), piece) == raw


@given(raw=st.binary(max_size=60), breaks=st.lists(st.integers(0, 80), max_size=10), piece=PIECES)
def test_decode_ignores_line_breaks_anywhere(raw: bytes, breaks: list[int], piece: int) -> None:
    text = standard(raw)
    for at in breaks:
        text = text[:at] + "\n" + text[at:]
    assert decoded(text, piece) == raw


@pytest.mark.parametrize("piece", [1, 4, 5, PIECE])
@pytest.mark.parametrize(
    "text",
    [
        "!!!!",
        "a",
        "abcde",
        "ä",
        "=",
        "====",
        "QUJD=",
        "QUJD====",
        "QQ==QQ==",
        "QQ==Q",
        "Q=Q=",
        "QUJD,QUJD",
        "QUJD\0",
        "QUJD\u2028QUJD",
        "\ud800",
        "data:image/jpeg;base64",
        "data:,QUJD",
        "data:text/plain,QUJD",
        "data:image/jpeg;base64,%%%",
    ],
)
def test_invalid_base64_is_refused(text: str, piece: int) -> None:
    for function in (lambda: decoded(text, piece), lambda: check_base64(text)):
        with pytest.raises(PayloadError) as caught:
            function()
        assert (caught.value.code, caught.value.field) == (Code.BAD_PAYLOAD, "data")
        assert caught.value.message == "data: is not base64"


@given(
    raw=st.binary(min_size=1, max_size=60), at=st.integers(0, 60), character=st.characters(exclude_characters=" \t\r\n")
)
def test_check_finds_an_invalid_character_anywhere(raw: bytes, at: int, character: str) -> None:
    text = standard(raw)
    at %= len(text)
    if character.isascii() and (character.isalnum() or character in "+/-_="):
        character = "*"
    with pytest.raises(PayloadError):
        check_base64(text[:at] + character + text[at + 1 :])


@pytest.mark.parametrize("empty", ["", "\n", "data:;base64,"])
def test_empty_text_decodes_to_no_bytes(empty: str) -> None:
    assert decoded(empty) == b""
    check_base64(empty)


@pytest.mark.parametrize("wrapping", [*WRAPPING])
def test_large_file_is_decoded_with_constant_memory(wrapping: str) -> None:
    raw = random.Random(1).randbytes(16_000_000)
    text = WRAPPING[wrapping](standard(raw))
    decoded_bytes = 0
    with peak_memory_below(megabytes=4):
        for piece in decode_base64(text):
            assert len(piece) <= PIECE
            assert piece == raw[decoded_bytes : decoded_bytes + len(piece)]
            decoded_bytes += len(piece)
    assert decoded_bytes == len(raw)


@given(
    raw=st.binary(max_size=300),
    head=st.sampled_from(["", "data:image/png;base64,", " data:;base64,"]),
    size=st.integers(1, 50),
)
def test_pieces_decode_as_the_whole_text_does(raw: bytes, head: str, size: int) -> None:
    text = (head + base64.b64encode(raw).decode()).encode()
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    assert b"".join(decode_base64_pieces(pieces)) == raw


@pytest.mark.parametrize("text", [b"data:text/plain,hello", b"data:" + b"x" * 9000, b"AAA!", "ação".encode(), b"A"])
def test_pieces_of_anything_else_are_refused(text: bytes) -> None:
    with pytest.raises(PayloadError):
        list(decode_base64_pieces([text[start : start + 1000] for start in range(0, len(text), 1000)]))
