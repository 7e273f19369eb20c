"""Decodes base64 piece by piece, so that memory does not grow with the file."""

from __future__ import annotations

import base64
import re
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain

from pipeline.errors import PayloadError

PIECE = 256 * 1024  # characters decoded at a time
MAX_HEAD = 4096  # bytes in which the head of a `data:` URL has to end, if it arrives in pieces

_STANDARD = bytes.maketrans(b"-_", b"+/")
_SPACE = b" \t\r\n"
_DATA_URL = re.compile(r"\s*data:([^,]*)(,?)", re.IGNORECASE)


class Base64Decoder:
    """Decodes the pieces of a base64 text. A piece may end anywhere; `finish` has the rest.

    Accepts the standard and the URL-safe alphabet, with or without padding, with line breaks and spaces anywhere.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._is_padded = False  # whether the padding has come, after which nothing may follow

    def update(self, piece: bytes) -> bytes:
        """The bytes of the next piece, as far as they are complete.

        Raises:
            PayloadError: `data` is not base64.
        """
        digits = self._rest + piece.translate(_STANDARD, _SPACE)
        if self._is_padded and digits:
            raise _invalid()
        whole = len(digits) // 4 * 4
        quads, self._rest = digits[:whole], digits[whole:]
        self._is_padded = quads.endswith(b"=")
        return _decoded(quads) if quads else b""

    def finish(self) -> bytes:
        """The last bytes, of a text without padding.

        Raises:
            PayloadError: `data` is not base64.
        """
        if self._is_padded and self._rest:
            raise _invalid()
        return _decoded(self._rest + b"=" * (4 - len(self._rest))) if self._rest else b""


def decode_base64(text: str, *, piece: int = PIECE) -> Iterator[bytes]:
    """The bytes of a base64 text, decoded from `piece` characters at a time.

    Accepts what `Base64Decoder` accepts, and a `data:` URL.

    Raises:
        PayloadError: `data` is not base64. The bytes before the invalid character have been yielded by then.
    """
    starts = range(_start(text), len(text), piece)
    return _decode(_ascii(text[start : start + piece]) for start in starts)


def decode_base64_pieces(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The bytes of a base64 text that arrives in pieces. Accepts and raises what `decode_base64` does.

    The head of a `data:` URL may have MAX_HEAD bytes.
    """
    rest = iter(pieces)
    head = b""
    for piece in rest:
        head += piece
        if len(head) >= MAX_HEAD:
            break
    start = _start(head[:MAX_HEAD].decode("latin-1"))
    return _decode(chain([head[start:]], rest))


def _decode(pieces: Iterable[bytes]) -> Iterator[bytes]:
    decoder = Base64Decoder()
    for piece in pieces:
        if decoded := decoder.update(piece):
            yield decoded
    if decoded := decoder.finish():
        yield decoded


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


def _ascii(text: str) -> bytes:
    try:
        return text.encode("ascii")
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
