"""Reads one long text of a JSON object while the object arrives, so that memory does not grow with the text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

_SPACE = frozenset(b" \t\r\n")
_QUOTE, _BACKSLASH, _COLON, _OBJECT = b'"\\:{'
_OPEN, _CLOSE = frozenset(b"{["), frozenset(b"}]")


class JsonMemberError(ValueError):
    """Raised when the text is no JSON object, or has no such member. The message says which, without the text."""


def json_text_member(pieces: Iterable[bytes], name: str, *, max_other: int) -> Iterator[bytes]:
    """The characters of the member `name` of a JSON object, a text without escapes other than `\\/`.

    `max_other` limits the bytes of all that comes before the text. What follows the text is not read.

    Raises:
        JsonMemberError: it is no object, the member is missing or no text, or the limit is reached.
    """
    scanner = _MemberScanner(name)
    rest = iter(pieces)
    for piece in rest:
        start = scanner.find(piece)
        if start is not None:
            yield from _text(piece[start:], rest)
            return
        if scanner.seen > max_other:
            raise JsonMemberError(f"it has more than {max_other} bytes before {name}")
    raise JsonMemberError(f"it has no {name}")


def _text(piece: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    carried = b""
    while True:
        piece = carried + piece
        end = piece.find(b'"')
        part = piece if end < 0 else piece[:end]
        carried = b"\\" if end < 0 and part.endswith(b"\\") else b""
        part = part.removesuffix(carried).replace(b"\\/", b"/")
        if b"\\" in part:
            raise JsonMemberError("its text has escapes")
        if part:
            yield part
        if end >= 0:
            return
        following = next(rest, None)
        if following is None:
            raise JsonMemberError("it ends in the middle")
        piece = following


class _MemberScanner:
    """Finds the start of a member's text in the outermost object. Deep nesting costs no stack."""

    def __init__(self, name: str) -> None:
        self.seen = 0
        self._name = name.encode()
        self._depth = 0
        self._in_text = False
        self._escaped = False
        self._text = bytearray()
        self._key: bytes | None = None  # of the value that comes next

    def find(self, piece: bytes) -> int | None:
        """The index in this piece at which the member's text begins; None if it does not begin here."""
        for index, byte in enumerate(piece):
            if self._in_text:
                self._continue_text(byte)
            elif byte == _QUOTE:
                if self._depth == 1 and self._key == self._name:
                    return index + 1
                self._in_text = True
                self._text.clear()
            elif byte not in _SPACE:
                self._structure(byte)
        self.seen += len(piece)
        return None

    def _continue_text(self, byte: int) -> None:
        if self._escaped:
            self._escaped = False
        elif byte == _BACKSLASH:
            self._escaped = True
        elif byte == _QUOTE:
            self._in_text = False
            return
        if self._depth == 1:
            self._text.append(byte)

    def _structure(self, byte: int) -> None:
        if self._depth == 0 and byte != _OBJECT:
            raise JsonMemberError("it is no JSON object")
        if byte in _OPEN:
            self._depth += 1
        elif byte in _CLOSE:
            self._depth -= 1
            if self._depth == 0:
                raise JsonMemberError(f"it has no {self._name.decode()}")
        elif self._depth == 1:
            self._key = bytes(self._text) if byte == _COLON else None
