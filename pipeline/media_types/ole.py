"""Check of OLE compound files: DOC, XLS, PPT and encrypted OOXML. Runs in the sandbox. Layout: [MS-CFB].

Encryption is detected by hand. msoffcrypto-tool 6.1 was measured: see "Measured fast paths" in docs/architecture.md.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import olefile

from pipeline.media_types.answers import ENCRYPTED_OOXML
from pipeline.media_types.limits import parse_limits
from pipeline.media_types.rejections import check_active, decoding
from pipeline.sandbox import Reason, Refusal

MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
ENCRYPTED_PACKAGE = "encryptedpackage"
# Types by the name of their main stream, in lower case: names are compared without case ([MS-CFB] 2.6.4).
MAIN_STREAMS = {
    "worddocument": "doc", "workbook": "xls", "book": "xls", "powerpoint document": "ppt",
    ENCRYPTED_PACKAGE: ENCRYPTED_OOXML,
}  # fmt: skip
MACRO_STORAGES = frozenset({"macros", "vba", "_vba_project_cur", "_vba_project"})
STORAGE, STREAM = 1, 2
HEAD = 512  # bytes of the main stream that are searched for signs of encryption
FIB_MAGICS = frozenset({0xA5EC, 0xA5DC, 0xA697, 0xA699})  # Word 97 and later, 95 and 6; [MS-DOC] 2.5.2
FIB_ENCRYPTED = 0x0100
BOF, FILEPASS = 0x0809, 0x002F  # [MS-XLS] 2.4.21, 2.4.117
ENCRYPTED_USER = 0xF3D1C4DF  # [MS-PPT] 2.3.2
DECODE_ERRORS = (OSError, EOFError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, struct.error)


def is_compound(file: int) -> bool:
    """Whether the file begins with the signature of an OLE compound file."""
    return os.pread(file, len(MAGIC), 0) == MAGIC


def main_stream(file: int) -> str | None:
    """The type by the names of the streams: "doc", "xls", "ppt", ENCRYPTED_OOXML or None.

    Raises:
        PermanentError: `broken`: the directory cannot be read.
    """
    with _open(file) as ole:
        return next((MAIN_STREAMS[name] for name in _names(ole, STREAM, root=True) if name in MAIN_STREAMS), None)


def inspect(file: int, *, limits: str, **_: Any) -> dict[str, Any]:
    """The flags "macros" and "encrypted" of an Office document, after a check of its sector chains.

    Raises:
        PermanentError: `active_content`, `broken`.
    """
    with _open(file) as ole:
        entry = _main_entry(ole)
        _check_chains(ole, entry, os.fstat(file).st_size)
        encrypted = _is_encrypted(ole, entry)
        macros = bool(MACRO_STORAGES & set(_names(ole, STORAGE)))
    flags = (*(["macros"] if macros else []), *(["encrypted"] if encrypted else []))
    check_active(flags, refuse=parse_limits(limits).refuse_active)
    return {"flags": list(flags)}


@contextmanager
def _open(file: int) -> Iterator[Any]:
    os.lseek(file, 0, os.SEEK_SET)
    with open(file, "rb", closefd=False) as stream, decoding("an OLE document", *DECODE_ERRORS, RecursionError):
        yield olefile.OleFileIO(stream)


def _entries(ole: Any, entry_type: int, *, root: bool = False) -> Iterator[Any]:
    entries = ole.root.kids if root else ole.direntries
    return (entry for entry in entries if entry is not None and entry.entry_type == entry_type)


def _names(ole: Any, entry_type: int, *, root: bool = False) -> list[str]:
    return [entry.name.lower() for entry in _entries(ole, entry_type, root=root)]


def _main_entry(ole: Any) -> Any:
    entries = [entry for entry in _entries(ole, STREAM, root=True) if entry.name.lower() in MAIN_STREAMS]
    if not entries:
        raise Refusal(Reason.OLE_WITHOUT_STREAM)
    return entries[0]


def _check_chains(ole: Any, main: Any, file_size: int) -> None:
    """Checks the sector chains of the directory, the mini stream and the main stream, without reading the sectors.

    Raises:
        PermanentError: `broken`: together they need more sectors than the file has, or `_follow` refuses one.
    """
    seen: set[int] = set()
    chains = [(ole.first_dir_sector, 1), *((entry.isectStart, _sectors(ole, entry)) for entry in (ole.root, main))]
    if sum(sectors for _, sectors in chains) > min(file_size // ole.sectorsize, len(ole.fat)):
        raise Refusal(Reason.OLE_TOO_SHORT)
    for start, sectors in chains:
        if sectors:
            _follow(ole.fat, start, sectors, seen)


def _sectors(ole: Any, entry: Any) -> int:
    """Number of sectors that the entry needs in the FAT; 0 if it is stored in the mini stream."""
    small = entry.entry_type == STREAM and entry.size < ole.minisectorcutoff
    return 0 if small else -(-entry.size // ole.sectorsize)


def _follow(fat: Any, sector: int, needed: int, seen: set[int]) -> None:
    """Follows one chain through the FAT to its end and adds its sectors to `seen`.

    A chain may be longer than `needed`, and may end with a number that the FAT does not have instead of ENDOFCHAIN.
    Sectors behind the needed ones are checked like the others: they must not belong to another chain.

    Raises:
        PermanentError: `broken`: the chain has fewer than `needed` sectors, or reaches a sector that is in `seen`
            (a loop, or a sector of another chain).
    """
    length = 0
    while sector != olefile.ENDOFCHAIN:
        if not 0 <= sector < len(fat) or sector in seen:
            break
        seen.add(sector)
        length += 1
        sector = fat[sector]
    if sector in seen or length < needed:
        raise Refusal(Reason.OLE_BAD_CHAIN)


def _head(ole: Any, entry: Any) -> bytes:
    if entry.size < ole.minisectorcutoff:
        return bytes(ole.openstream(entry.name).read(HEAD))
    return bytes(ole.getsect(entry.isectStart)[:HEAD])


def _is_encrypted(ole: Any, entry: Any) -> bool:
    """Whether the start of the main stream declares the rest as encrypted.

    Raises:
        PermanentError: `broken`: the stream does not begin as its type requires.
    """
    stream = entry.name.lower()
    if stream == ENCRYPTED_PACKAGE:
        return True
    if MAIN_STREAMS[stream] == "ppt":
        return _is_encrypted_ppt(ole)
    head = _head(ole, entry)
    if MAIN_STREAMS[stream] == "doc":
        magic, _, flags = struct.unpack_from("<H8sH", head)
        if magic not in FIB_MAGICS:
            raise Refusal(Reason.OLE_NO_WORD)
        return bool(flags & FIB_ENCRYPTED)
    return _has_filepass(head)


def _has_filepass(head: bytes) -> bool:
    record, length = struct.unpack_from("<HH", head)
    if record != BOF:
        raise Refusal(Reason.OLE_NO_EXCEL)
    position = 4 + length
    while position + 4 <= len(head):
        record, length = struct.unpack_from("<HH", head, position)
        if record == FILEPASS:
            return True
        position += 4 + length
    return False


def _is_encrypted_ppt(ole: Any) -> bool:
    if "encryptedsummary" in _names(ole, STREAM):
        return True
    user = ole.openstream("Current User").read(16)
    return bool(struct.unpack_from("<I", user, 12)[0] == ENCRYPTED_USER)
