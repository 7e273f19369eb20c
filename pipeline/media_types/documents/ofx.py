"""Check of OFX bank statements: 1.x in SGML with a header of lines, 2.x in XML. Runs in the sandbox.

Layout: Open Financial Exchange 1.6, chapter 2, and 2.2, chapter 2.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

from pipeline.media_types.documents import xml_document
from pipeline.media_types.documents.file_chunks import text_chunks
from pipeline.media_types.documents.xml_document import decoded_start
from pipeline.sandbox import Reason, Refusal

HEADER = b"OFXHEADER"
MAX_HEADER = 4096  # bytes in front of the first tag
MAX_VALUE = 1_000_000  # bytes between two tags
MAX_OPEN = 256  # elements that are open at the same time
XML_STARTS = (b"<?xml", b"<?OFX")
TAG = re.compile(rb"(/?)([A-Za-z0-9][A-Za-z0-9._-]{0,63})\s*>")
# Banks write the header in lines, in one line, or with spaces around the colons.
NAMED = (re.compile(rb"OFXHEADER\s*:\s*100"), re.compile(rb"DATA\s*:\s*OFXSGML"))
RUN_ELEMENTS = frozenset({b"SCRIPT", b"HTML", b"BODY", b"SVG", b"IFRAME", b"OBJECT", b"EMBED"})  # of HTML


def starts_header(text: bytes) -> bool:
    """Whether a text without leading white space begins like the header of OFX 1.x."""
    return text.startswith(HEADER)


def inspect(file: int, **_: Any) -> dict[str, Any]:
    """Checks that the file is one OFX element: well-formed XML, or SGML whose elements close in order. No facts.

    Elements of OFX 1.x that hold a value need no end tag.

    Raises:
        PermanentError: `broken`; `type_not_allowed` for scripts and HTML.
    """
    if decoded_start(os.pread(file, MAX_HEADER, 0)).startswith(XML_STARTS):
        return xml_document.inspect(file)
    elements = _Elements()
    for number, (tag, value) in enumerate(_tags(file)):
        if number:
            elements.add(tag, value)
        else:
            _check_header(value)
    elements.end()
    return {}


def _check_header(header: bytes) -> None:
    """Checks what precedes the first tag: a header, or nothing in files of some banks."""
    text = header.strip()
    if len(text) > MAX_HEADER or (text and not all(pattern.search(text) for pattern in NAMED)):
        raise Refusal(Reason.OFX_HEADER)


def _tags(file: int) -> Iterator[tuple[bytes, bytes]]:
    """The tags in order, each with the text behind it; first an empty tag with the text in front of all."""
    rest, in_front = b"", True
    for chunk in text_chunks(file):
        *whole, rest = (rest + chunk).split(b"<")
        if len(rest) > MAX_VALUE:
            raise Refusal(Reason.OFX_ELEMENTS)
        for piece in whole:
            yield (b"", piece) if in_front else _split(piece)
            in_front = False
    yield (b"", rest) if in_front else _split(rest)


def _split(piece: bytes) -> tuple[bytes, bytes]:
    tag = TAG.match(piece)
    if tag is None:
        raise Refusal(Reason.OFX_ELEMENTS)
    return tag[1] + tag[2].upper(), piece[tag.end() :].strip(b" \t\r\n\0\x1a")


class _Elements:
    """The elements that are open."""

    def __init__(self) -> None:
        self._open: list[bytes] = []
        self._has_value = False  # the innermost one has, so that the next tag ends it
        self._ended = False

    def add(self, tag: bytes, value: bytes) -> None:
        name = tag.lstrip(b"/")
        if name in RUN_ELEMENTS:
            raise Refusal(Reason.XML_RUN)
        if self._ended:
            raise Refusal(Reason.OFX_ELEMENTS)
        if tag.startswith(b"/"):
            self._close(name)
            self._ended = not self._open
            if value:
                raise Refusal(Reason.OFX_ELEMENTS)
        else:
            self._start(name)
        self._has_value = bool(value)

    def _start(self, name: bytes) -> None:
        if self._has_value:
            self._open.pop()
        if not self._open and name != b"OFX":
            raise Refusal(Reason.OFX_ELEMENTS)
        self._open.append(name)
        if len(self._open) > MAX_OPEN:
            raise Refusal(Reason.TOO_DEEP, allowed=MAX_OPEN)

    def _close(self, name: bytes) -> None:
        if name not in self._open:
            raise Refusal(Reason.OFX_ELEMENTS)
        while self._open.pop() != name:
            pass

    def end(self) -> None:
        """Checks that the root is complete.

        Raises:
            PermanentError: `broken`.
        """
        if not self._ended:
            raise Refusal(Reason.OFX_CUT)
