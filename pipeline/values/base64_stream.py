"""Base64 as gateways write whole files in it, decoded piece by piece: memory does not grow with the file."""

from __future__ import annotations

import base64
import re
from collections import deque
from collections.abc import Iterator

from pipeline.errors import PayloadError

PIECE = 256 * 1024  # characters that are decoded at a time

_STANDARD = bytes.maketrans(b"-_", b"+/")
_SPACE = b" \t\r\n"
_DATA_URL = re.compile(r"\s*data:([^,]*)(,?)", re.IGNORECASE)


def decode_base64(text: str, *, piece: int = PIECE) -> Iterator[bytes]:
    """The bytes behind `text`, decoded from so many characters at a time.

    Forms: the standard or the URL-safe alphabet, padded or not, with line breaks and spaces anywhere, and all of that
    as a `data:` URL.

    Raises:
        PayloadError: `data` is not base64; what came before the fault has been yielded by then.
    """
    rest = b""
    ended = False
    for start in range(_start(text), len(text), piece):
        rest += _digits(text[start : start + piece])
        if ended and rest:  # nothing may follow the padding
            raise _fault()
        whole = len(rest) // 4 * 4
        quads, rest = rest[:whole], rest[whole:]
        ended = quads.endswith(b"=")
        if quads:
            yield _decoded(quads)
    if ended and rest:
        raise _fault()
    if rest:
        yield _decoded(rest + b"=" * (4 - len(rest)))


def check_base64(text: str) -> None:
    """Decodes `text` and keeps nothing of it.

    Raises:
        PayloadError: `data` is not base64.
    """
    deque(decode_base64(text), maxlen=0)


def _start(text: str) -> int:
    head = _DATA_URL.match(text)
    if not head:
        return 0
    # Without that word the rest of such a URL is percent-encoded text, which may look like base64.
    if not (head[2] and head[1].rstrip().lower().endswith(";base64")):
        raise _fault()
    return head.end()


def _digits(text: str) -> bytes:
    try:
        return text.encode("ascii").translate(_STANDARD, _SPACE)
    except UnicodeEncodeError:
        raise _fault() from None


def _decoded(quads: bytes) -> bytes:
    if quads.endswith(b"==="):  # some versions of Python let it pass
        raise _fault()
    try:
        return base64.b64decode(quads, validate=True)
    except ValueError:  # binascii.Error is one
        raise _fault() from None


def _fault() -> PayloadError:
    return PayloadError("data", "is not base64")
