"""Parses multipart/form-data piece by piece: the fields in memory, the bytes of files to where they are written."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from pipeline.errors import Code, PayloadError, PermanentError

MAX_FILES = 20
MAX_FIELDS = 50
MAX_FIELD_BYTES = 300_000  # of one field: a caption of 65,536 characters in UTF-8
MAX_FIELDS_BYTES = 1_000_000  # of all of them
UNSPECIFIC = frozenset({"", "application/octet-stream", "binary/octet-stream"})
MALFORMED = "the body is not multipart/form-data as its Content-Type says"
# Its warnings say where a body is malformed, which is answered with 400.
logging.getLogger("python_multipart.multipart").setLevel(logging.CRITICAL + 1)
_BOUNDARY = re.compile(rb"[ -~]{1,70}")  # RFC 2046, section 5.1.1


@dataclass
class FormFile:
    """A file in a form: the sender's name and type for it. `pending` is what was received and not written yet.

    Browsers send a part without name and content for an input in which no file was chosen: `is_absent`.
    """

    filename: str | None
    mimetype: str | None
    size: int = 0
    pending: bytearray = field(default_factory=bytearray)

    @property
    def is_absent(self) -> bool:
        return not (self.filename or self.size)


@dataclass
class FormField:
    """A field of a form."""

    name: str
    value: bytearray = field(default_factory=bytearray)


def is_form(content_type: str) -> bool:
    """Whether a body of this type is a form with files."""
    return content_type.partition(";")[0].strip().lower() == "multipart/form-data"


class FormParser:
    """The state of one form. `files` and `fields` grow as its parts arrive.

    A part with a file name is a file, whatever its own name is.
    """

    def __init__(self, content_type: str, *, max_bytes: int) -> None:
        """`max_bytes`: of all files together.

        Raises:
            PayloadError: the boundary is missing or malformed.
        """
        boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
        if not _BOUNDARY.fullmatch(boundary):
            raise PayloadError("", f"{MALFORMED}: it has no valid boundary")
        self.files: list[FormFile] = []
        self._fields: list[FormField] = []
        self._max_bytes = max_bytes
        self._received = self._field_bytes = 0
        self._headers: dict[bytes, bytes] = {}
        self._name, self._value = bytearray(), bytearray()
        self._part: FormFile | FormField | None = None
        self._complete = False
        self._parser = MultipartParser(boundary, self._callbacks())  # type: ignore[arg-type]  # it is a TypedDict

    def write(self, data: bytes) -> None:
        """Parses the next piece of the body.

        Raises:
            PayloadError: it is malformed, or a part is not allowed.
            PermanentError: `too_large`.
        """
        try:
            self._parser.write(data)
        except FormParserError:
            raise PayloadError("", MALFORMED) from None

    def fields(self) -> dict[str, str]:
        """The fields, when the body has ended.

        Raises:
            PayloadError: the body ended early, or a field is sent twice or is not UTF-8.
        """
        if not self._complete:
            raise PayloadError("", "the body ended early")
        found: dict[str, str] = {}
        for part in self._fields:
            if part.name in found:
                raise PayloadError(part.name, "is sent twice")
            found[part.name] = _text(bytes(part.value), part.name)
        return found

    def _callbacks(self) -> dict[str, Callable[..., Any]]:
        return {
            "on_part_begin": self._begin_part,
            "on_header_begin": self._begin_header,
            "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._open_part,
            "on_part_data": self._add_data,
            "on_end": self._end,
        }

    def _begin_part(self) -> None:
        self._headers, self._part = {}, None

    def _begin_header(self) -> None:
        self._name, self._value = bytearray(), bytearray()

    def _end_header(self) -> None:
        self._headers[bytes(self._name).lower()] = bytes(self._value)

    def _end(self) -> None:
        self._complete = True

    def _open_part(self) -> None:
        kind, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        if kind != b"form-data" or b"name" not in options:
            raise PayloadError("", "a part of the form has no name")
        if self._headers.get(b"content-transfer-encoding", b"binary").lower() not in {b"binary", b"8bit", b"7bit"}:
            raise PayloadError("", "a part of the form is encoded: send its bytes as they are")
        name = _text(options[b"name"], "")
        if b"filename" in options:
            self._part = self._open_file(_text(options[b"filename"], name) or None)
        else:
            self._part = FormField(name)
            self._fields.append(self._part)
            if len(self._fields) > MAX_FIELDS:
                raise PayloadError("", f"the form has more than {MAX_FIELDS} fields")

    def _open_file(self, filename: str | None) -> FormFile:
        mimetype = self._headers.get(b"content-type", b"").decode("latin-1").strip()
        file = FormFile(filename, None if mimetype.lower() in UNSPECIFIC else mimetype)
        self.files.append(file)
        if len(self.files) > MAX_FILES:
            raise PayloadError("", f"the form has more than {MAX_FILES} files")
        return file

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        part = self._part
        if isinstance(part, FormFile):
            self._received += end - start
            if self._received > self._max_bytes:
                raise too_large(self._max_bytes)
            part.size += end - start
            part.pending += memoryview(data)[start:end]
        elif part is not None:
            self._field_bytes += end - start
            part.value += data[start:end]
            if len(part.value) > MAX_FIELD_BYTES or self._field_bytes > MAX_FIELDS_BYTES:
                raise PayloadError(part.name, "is too long")


def too_large(max_bytes: int) -> PermanentError:
    return PermanentError(Code.TOO_LARGE, f"the files are larger than {max_bytes} bytes together (MAX_UPLOAD_MB)")


def _text(value: bytes, name: str) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise PayloadError(name, "is not UTF-8") from None


def pending_of(files: list[FormFile]) -> Iterator[tuple[int, bytearray]]:
    """The bytes that wait to be written, with the position of their file. They are taken off."""
    for number, file in enumerate(files):
        if file.pending:
            pending, file.pending = file.pending, bytearray()
            yield number, pending
