"""Check of XML documents, such as NF-e, the electronic invoice of Brazil. Runs in the sandbox.

Document types are refused, so no entity is ever declared, expanded or resolved (billion laughs, XXE).
"""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from xml.parsers import expat

from pipeline.media_types.documents.file_chunks import UTF8_MARK, UTF16_MARKS, chunks
from pipeline.sandbox import Reason, Refusal

MAX_DEPTH = 256  # nested elements; libxml2 and what is built on it refuse more
TAIL = 4096  # bytes in which the end tag of the root is looked for, in a document without XML declaration
SPACE = b" \t\r\n"
# Namespaces whose elements programs run or load other files for: a browser runs XHTML and SVG within any XML.
RUN_NAMESPACES = frozenset(
    {
        "http://www.w3.org/1999/xhtml",
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/XSL/Transform",
        "http://www.w3.org/2001/XInclude",
        "http://www.mozilla.org/keymaster/gatekeeper/there.is.only.xul",
        "http://www.mozilla.org/xbl",
    }
)
ROOTS = {"ofx": "ofx"}  # other types than "xml", by the local names of root elements
RUN_ROOTS = {"html": "text/html", "svg": "image/svg+xml"}  # mime types by the local names of root elements
NOT_XML = (expat.ExpatError, LookupError, ValueError)  # the last two for an unknown encoding
XHTML = "application/xhtml+xml"
# Stylesheets may hold scripts; Office opens documents with the other one, and runs their macros.
RUN_INSTRUCTIONS = frozenset({"xml-stylesheet", "mso-application", "php"})


def type_by_root(file: int, head: bytes) -> str | None:
    """The type of an XML document by its root element: "xml", "ofx", or the mime type of HTML and SVG.

    None if the file does not begin like XML, or has no XML declaration and does not end with its root element: text
    may begin with a tag too. `head` is the start of the file.
    """
    text = decoded_start(head)
    if not text.startswith(b"<"):
        return None
    root = _root(head)
    if root is None:
        return "xml" if text.startswith(b"<?xml") else None
    name, attributes = root
    local = _local(name)
    if local in RUN_ROOTS:
        is_xhtml = local == "html" and any(value == "http://www.w3.org/1999/xhtml" for value in attributes.values())
        return XHTML if is_xhtml else RUN_ROOTS[local]
    if local in ROOTS:
        return ROOTS[local]
    return "xml" if text.startswith((b"<?xml", b"<!DOCTYPE")) or _ends_with(file, name) else None


def decoded_start(head: bytes) -> bytes:
    """The start of a text without its byte order mark and leading white space; UTF-16 as UTF-8."""
    mark = head[:2]
    if mark in UTF16_MARKS or mark in (b"<\0", b"\0<"):
        encoding = "utf-16-be" if mark in (codecs.BOM_UTF16_BE, b"\0<") else "utf-16-le"
        return head.decode(encoding, "ignore").lstrip("\ufeff \t\r\n").encode("utf-8", "ignore")
    return head.removeprefix(UTF8_MARK).lstrip(SPACE)


class _RootFound(Exception):  # noqa: N818 -- ends the parser, no error
    """Raised to stop at the root element, or at a document type of HTML or SVG."""

    def __init__(self, name: str, attributes: dict[str, str]) -> None:
        super().__init__(name)
        self.root = (name, attributes)


def _root(head: bytes) -> tuple[str, dict[str, str]] | None:
    """Name and attributes of the root element in the start of a document."""
    parser = expat.ParserCreate()
    parser.StartElementHandler = _stop
    parser.StartDoctypeDeclHandler = _stop_if_run
    try:
        parser.Parse(head.removeprefix(UTF8_MARK).lstrip(SPACE))
    except _RootFound as found:
        return found.root
    except NOT_XML:
        return None
    return None


def _stop(name: str, attributes: dict[str, str]) -> None:
    raise _RootFound(name, attributes)


def _stop_if_run(name: str, *_: Any) -> None:
    if _local(name) in RUN_ROOTS:
        _stop(name, {})


def _local(name: str) -> str:
    return name.rpartition(":")[2].lower()


def _ends_with(file: int, name: str) -> bool:
    """Whether the last element that the file closes is this one."""
    size = os.fstat(file).st_size
    tail = os.pread(file, TAIL, max(0, size - TAIL)).replace(b"\0", b"").rstrip(SPACE)
    return tail.endswith((f"</{name}>".encode(), b"/>"))


def inspect(file: int, **_: Any) -> dict[str, Any]:
    """Checks that the file is well-formed XML without a document type, and nothing that programs run. No facts.

    Expat knows UTF-8, UTF-16, ISO-8859-1 and ASCII; Python adds encodings of one byte such as Windows-1252.

    Raises:
        PermanentError: `broken`; `type_not_allowed` for XHTML, SVG, scripts, stylesheets, inclusions and documents of
            Office.
    """
    parser = _parser()
    pieces = chunks(file)
    with _well_formed():
        parser.Parse(next(pieces, b"").removeprefix(UTF8_MARK).lstrip(SPACE))
        for piece in pieces:
            parser.Parse(piece)
        parser.Parse(b"", True)
    return {}


@contextmanager
def _well_formed() -> Iterator[None]:
    try:
        yield
    except NOT_XML as error:
        raise Refusal(Reason.XML_BROKEN) from error


def _parser() -> expat.XMLParserType:
    elements = _Elements()
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.StartElementHandler = elements.start
    parser.EndElementHandler = elements.end
    parser.ProcessingInstructionHandler = _check_instruction
    return parser


class _Elements:
    """Counts nested elements, and refuses those that programs run."""

    def __init__(self) -> None:
        self._depth = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise Refusal(Reason.TOO_DEEP, allowed=MAX_DEPTH)
        if _local(name) == "script" or not RUN_NAMESPACES.isdisjoint(attributes.values()):
            raise Refusal(Reason.XML_RUN)

    def end(self, _name: str) -> None:
        self._depth -= 1


def _check_instruction(target: str, _text: str) -> None:
    if target.lower() in RUN_INSTRUCTIONS:
        raise Refusal(Reason.XML_RUN)


def _refuse_doctype(*_: Any) -> None:
    raise Refusal(Reason.XML_DOCTYPE)
