"""Check of vCard files: versions 2.1, 3.0 (RFC 2426) and 4.0 (RFC 6350), one card or several. Runs in the sandbox."""

from __future__ import annotations

import re
from typing import Any

from pipeline.media_types.documents.file_chunks import UTF8_MARK, lines
from pipeline.sandbox import Reason, Refusal

BEGIN, END = b"BEGIN:VCARD", b"END:VCARD"
LONGEST_LINE = 16_000_000  # bytes: some programs write a photo in one line
MAX_NESTED = 4  # cards within a card; the property AGENT of version 2.1 holds one
VERSION = re.compile(rb"VERSION(?:;[^:]*)?:\s*(2\.1|3\.0|4\.0)\s*$", re.IGNORECASE)
PROPERTY = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._/-]*\s*[;:]")
BASE64_LINE = re.compile(rb"[A-Za-z0-9+/=]+$")
BASE64_MARKS = frozenset({b"BASE64", b"B", b"ENCODING=BASE64", b"ENCODING=B"})  # parameters


def starts_card(text: bytes) -> bool:
    """Whether a text without leading white space begins like a vCard."""
    return text[: len(BEGIN)].upper() == BEGIN


def inspect(file: int, **_: Any) -> dict[str, Any]:
    """Checks that the file consists of complete cards whose lines are properties. No facts.

    Values are not decoded: what they hold is data of the card.

    Raises:
        PermanentError: `broken`.
    """
    cards = _Cards()
    for line in lines(file, longest=LONGEST_LINE):
        cards.add(line)
    cards.end()
    return {}


class _Cards:
    """The state between two lines of a vCard file."""

    def __init__(self) -> None:
        self._depth = 0
        self._has_version = False
        self._soft_break = False  # the value of a quoted-printable property goes on in the next line
        self._quoted_printable = False
        self._base64 = False

    def add(self, line: bytes) -> None:
        """Checks the next line.

        Raises:
            PermanentError: `broken`.
        """
        if self._soft_break and line.strip().upper() != END:
            self._soft_break = line.endswith(b"=")
        elif line[:1] in (b" ", b"\t"):  # a folded line, or base64 of version 2.1
            self._add_folded(line)
        elif line.strip():
            self._add_line(line.rstrip())

    def _add_folded(self, line: bytes) -> None:
        if not self._depth and line.strip():
            raise Refusal(Reason.VCARD_OUTSIDE)
        self._soft_break = self._quoted_printable and line.endswith(b"=")

    def _add_line(self, line: bytes) -> None:
        word = line.upper() if len(line) <= len(BEGIN) else b""
        if word == BEGIN:
            self._begin()
        elif not self._depth:
            self._add_outside(line)
        elif word == END:
            self._end_card()
        elif PROPERTY.match(line) and b":" in line:
            self._add_property(line)
        elif not (self._base64 and BASE64_LINE.match(line)):
            raise Refusal(Reason.VCARD_LINE)

    def _add_outside(self, line: bytes) -> None:
        """Files that were joined have the byte order mark of each."""
        rest = line.removeprefix(UTF8_MARK)
        if rest == line:
            raise Refusal(Reason.VCARD_OUTSIDE)
        if rest.strip():
            self._add_line(rest)

    def _add_property(self, line: bytes) -> None:
        parameters = line.partition(b":")[0].upper().split(b";")[1:]
        self._quoted_printable = any(b"QUOTED-PRINTABLE" in parameter for parameter in parameters)
        self._base64 = not BASE64_MARKS.isdisjoint(parameters)
        self._soft_break = self._quoted_printable and line.endswith(b"=")
        self._has_version |= VERSION.match(line) is not None

    def _begin(self) -> None:
        self._depth += 1
        if self._depth > MAX_NESTED:
            raise Refusal(Reason.TOO_DEEP, allowed=MAX_NESTED)
        self._has_version = self._has_version and self._depth > 1
        self._base64 = self._quoted_printable = False

    def _end_card(self) -> None:
        self._depth -= 1
        self._soft_break = False
        if not self._depth and not self._has_version:
            raise Refusal(Reason.VCARD_VERSION)

    def end(self) -> None:
        """Checks that the last card is complete.

        Raises:
            PermanentError: `broken`.
        """
        if self._depth or self._soft_break:
            raise Refusal(Reason.VCARD_CUT)
