"""Check of OLE compound files: DOC, XLS, PPT and encrypted OOXML. Runs in the sandbox. Layout: [MS-CFB].

Encryption is detected by hand. msoffcrypto-tool 6.1 was measured: see "Measured fast paths" in docs/architecture.md.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import olefile

from pipeline.media_types.answers import ENCRYPTED_OOXML
from pipeline.media_types.limits import parse_limits
from pipeline.media_types.office import xls_records
from pipeline.media_types.office.ole_chains import STREAM, check_header, check_stream, read_start
from pipeline.media_types.rejections import check_active, decoding
from pipeline.sandbox import Reason, Refusal

MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
HEADER_SIZE = 512
ENCRYPTED_PACKAGE = "encryptedpackage"
# Types by the name of their main stream, in lower case: names are compared without case ([MS-CFB] 2.6.4).
MAIN_STREAMS = {
    "worddocument": "doc", "workbook": "xls", "book": "xls", "powerpoint document": "ppt",
    ENCRYPTED_PACKAGE: ENCRYPTED_OOXML,
}  # fmt: skip
OLD_WORD = (b"\x9b\xa5!\0", b"\xdb\xa5-\0")  # how documents of Word 1 and 2 begin, which are no OLE files
OLD_POWERPOINT = "pp40"  # the main stream of PowerPoint 4
NEW_POWERPOINT = "pp97_dualstorage"  # the presentation of PowerPoint 97, in a file that has one of PowerPoint 95 too
CURRENT_USER = "current user"
MACRO_STORAGES = frozenset({"macros", "vba", "_vba_project_cur", "_vba_project"})
# Streams that only documents with encryption have: of presentations, and of rights management ([MS-OFFCRYPTO] 1.3.2).
ENCRYPTION_STREAMS = frozenset({"encryptedsummary", "\x09drmcontent", ENCRYPTED_PACKAGE})
PLAIN_SIZE, CIPHER_BLOCK = 8, 16  # bytes of the size in front of an encrypted package, and of a block of its cipher
STORAGE = 1
HEAD = 512  # bytes of the main stream that are searched for signs of encryption
FIB_MAGICS = frozenset({0xA5EC, 0xA5DC, 0xA697, 0xA699})  # Word 97 and later, 95 and 6; [MS-DOC] 2.5.2
FIB_ENCRYPTED = 0x0100
USER_SIZE = 16  # bytes of the record of the current user, up to the mark; PowerPoint 95 has a shorter one
PLAIN_USER, ENCRYPTED_USER = 0xE391C05F, 0xF3D1C4DF  # [MS-PPT] 2.3.2
DECODE_ERRORS = (OSError, EOFError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, struct.error)


def is_compound(file: int) -> bool:
    """Whether the file begins with the signature of an OLE compound file."""
    return os.pread(file, len(MAGIC), 0) == MAGIC


def refuse_old_word(_: bytes) -> None:
    """Refuses a file that begins with one of OLD_WORD.

    Raises:
        PermanentError: `type_not_allowed`.
    """
    raise Refusal(Reason.OLD_WORD)


def main_stream(file: int) -> str | None:
    """The type by the names of the streams: "doc", "xls", "ppt", ENCRYPTED_OOXML or None.

    Raises:
        PermanentError: `broken`: the directory cannot be read. `type_not_allowed`: a presentation of PowerPoint 4.
    """
    with _open(file) as ole:
        entry = _main_entry(ole)
        if entry is None and OLD_POWERPOINT in _names(ole.root.kids, STREAM):
            raise Refusal(Reason.OLD_POWERPOINT)
        return MAIN_STREAMS[entry.name.lower()] if entry else None


def inspect(file: int, *, limits: str, **_: Any) -> dict[str, Any]:
    """The flags "macros" and "encrypted" of an Office document, after a check of its sector chains.

    Raises:
        PermanentError: `active_content`, `broken`, `type_not_allowed` (a presentation of PowerPoint 95).
    """
    if not is_compound(file):
        return xls_records.inspect(file, limits=limits)
    with _open(file) as ole:
        entry = _main_entry(ole)
        if entry is None:
            raise Refusal(Reason.OLE_WITHOUT_STREAM)
        check_stream(ole, entry, _needed_size(ole, entry))
        encrypted = _is_encrypted(ole, entry)
        macros = bool(MACRO_STORAGES & _names(ole.direntries, STORAGE))
    flags = (*(["macros"] if macros else []), *(["encrypted"] if encrypted else []))
    check_active(flags, refuse=parse_limits(limits).refuse_active)
    return {"flags": list(flags)}


class _WholeSectors(io.BufferedReader):
    """A file whose missing sectors are read as free: olefile refuses a FAT that is cut short where it is not needed."""

    def read(self, size: int | None = -1) -> bytes:
        content = super().read(size)
        return content.ljust(size, b"\xff") if size is not None and size > 0 else content


@contextmanager
def _open(file: int) -> Iterator[Any]:
    os.lseek(file, 0, os.SEEK_SET)
    with (
        _WholeSectors(io.FileIO(file, closefd=False)) as stream,
        decoding("an OLE document", *DECODE_ERRORS, RecursionError),
    ):
        check_header(os.pread(file, HEADER_SIZE, 0), file_size=os.fstat(file).st_size)
        yield olefile.OleFileIO(stream)


def _names(entries: list[Any], entry_type: int) -> set[str]:
    return {entry.name.lower() for entry in entries if entry is not None and entry.entry_type == entry_type}


def _main_entry(ole: Any) -> Any:
    """The directory entry of the main stream; None if there is none.

    Raises:
        PermanentError: `broken`: the root storage contains something else than streams and storages.
    """
    if any(entry.entry_type not in {STORAGE, STREAM} for entry in ole.root.kids):
        raise Refusal(Reason.OLE_BAD_DIRECTORY)
    streams = (entry for entry in ole.root.kids if entry.entry_type == STREAM)
    return next((entry for entry in streams if entry.name.lower() in MAIN_STREAMS), None)


def _needed_size(ole: Any, entry: Any) -> int:
    """Number of bytes of the main stream that a reader needs.

    An encrypted package begins with the size of the plain one; its stream may be longer ([MS-OFFCRYPTO] 2.3.4.4).

    Raises:
        PermanentError: `broken`: the plain package would be larger than the encrypted one.
    """
    if entry.name.lower() != ENCRYPTED_PACKAGE:
        return int(entry.size)
    plain = int.from_bytes(read_start(ole, entry, PLAIN_SIZE), "little")
    if PLAIN_SIZE + plain > entry.size:
        raise Refusal(Reason.OLE_NO_PACKAGE)
    return min(PLAIN_SIZE + plain + CIPHER_BLOCK, int(entry.size))


def _is_encrypted(ole: Any, entry: Any) -> bool:
    """Whether a stream of its own or the start of the main stream says that the content is encrypted.

    Raises:
        PermanentError: `broken`: the main stream does not begin as its type requires.
    """
    if not ENCRYPTION_STREAMS.isdisjoint(_names(ole.direntries, STREAM)):
        return True
    document = MAIN_STREAMS[entry.name.lower()]
    if document == "ppt":
        return _is_encrypted_ppt(ole)
    head = read_start(ole, entry, HEAD)
    if document == "xls":
        return xls_records.has_filepass(head)
    magic, _, flags = struct.unpack_from("<H8sH", head)
    if magic not in FIB_MAGICS:
        raise Refusal(Reason.OLE_NO_WORD)
    return bool(flags & FIB_ENCRYPTED)


def _is_encrypted_ppt(ole: Any) -> bool:
    storages = [ole.root, *(entry for entry in ole.root.kids if entry.name.lower() == NEW_POWERPOINT)]
    streams = [entry for storage in storages for entry in storage.kids if entry.entry_type == STREAM]
    users = [entry for entry in streams if entry.name.lower() == CURRENT_USER]
    if not users:
        raise Refusal(Reason.OLE_NO_POWERPOINT)
    user = read_start(ole, users[-1], USER_SIZE)
    if len(user) < USER_SIZE:
        raise Refusal(Reason.OLD_POWERPOINT)
    mark = int.from_bytes(user[12:], "little")
    if mark not in {PLAIN_USER, ENCRYPTED_USER}:
        raise Refusal(Reason.OLE_NO_POWERPOINT)
    return mark == ENCRYPTED_USER
