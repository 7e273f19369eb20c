"""Decodes base64 piece by piece, so that memory does not grow with the file."""

from __future__ import annotations

import base64
import re
from collections import deque
from collections.abc import Iterator

from pipeline.errors import PayloadError

PIECE = 256 * 1024  # characters decoded at a time

_STANDARD = bytes.maketrans(b"-_", b"+/")
_SPACE = b" \t\r\n"
_DATA_URL = re.compile(r"\s*data:([^,]*)(,?)", re.IGNORECASE)


def decode_base64(text: str, *, piece: int = PIECE) -> Iterator[bytes]:
    """The bytes of a base64 text, decoded from `piece` characters at a time.

    Accepts the standard and the URL-safe alphabet, with or without padding, with line breaks and spaces anywhere, and
    as a `data:` URL.

    Raises:
        PayloadError: `data` is not base64. The bytes before the invalid character have been yielded by then.
    """
    rest = b""
    padded = False  # whether the padding has come, after which nothing may follow
    for start in range(_start(text), len(text), piece):
        rest += _digits(text[start : start + piece])
        if padded and rest:
            raise _invalid()
        whole = len(rest) // 4 * 4
        quads, rest = rest[:whole], rest[whole:]
        padded = quads.endswith(b"=")
        if quads:
            yield _decoded(quads)
    if padded and rest:
        raise _invalid()
    if rest:
        yield _decoded(rest + b"=" * (4 - len(rest)))


def check_base64(text: str) -> None:
    """Checks that `text` is base64, without keeping the bytes.

    Raises:
        PayloadError: `data` is not base64.
    """
    deque(decode_base64(text), maxlen=0)


def _start(text: str) -> int:
    head = _DATA_URL.match(text)
    if not head:
        return 0
    # Without `;base64`, the rest of a data URL is percent-encoded text, which may look like base64.
    if not (head[2] and head[1].rstrip().lower().endswith(";base64")):
        raise _invalid()
    return head.end()


def _digits(text: str) -> bytes:
    try:
        return text.encode("ascii").translate(_STANDARD, _SPACE)
    except UnicodeEncodeError:
        raise _invalid() from None


def _decoded(quads: bytes) -> bytes:
    if quads.endswith(b"==="):  # some versions of Python accept it
        raise _invalid()
    try:
        return base64.b64decode(quads, validate=True)
    except ValueError:  # includes binascii.Error
        raise _invalid() from None


def _invalid() -> PayloadError:
    return PayloadError("data", "is not base64")
