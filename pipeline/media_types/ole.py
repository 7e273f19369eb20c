"""OLE compound files: DOC, XLS, PPT and encrypted OOXML. Runs in the sandbox. Layout: [MS-CFB]."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import olefile

from pipeline.media_types.limits import parse_limits
from pipeline.media_types.rejections import broken, check_active, decoding

MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
ENCRYPTED_OOXML = "encrypted-ooxml"
ENCRYPTED_PACKAGE = "encryptedpackage"
# The stream that makes a file what it is, in lower case: names are compared so ([MS-CFB] 2.6.4, [MS-XLS], [MS-DOC]).
MAIN_STREAMS = {
    "worddocument": "doc", "workbook": "xls", "book": "xls", "powerpoint document": "ppt",
    ENCRYPTED_PACKAGE: ENCRYPTED_OOXML,
}  # fmt: skip
MACRO_STORAGES = frozenset({"macros", "vba", "_vba_project_cur", "_vba_project"})
STORAGE, STREAM = 1, 2
HEAD = 512
FIB_MAGICS = frozenset({0xA5EC, 0xA5DC, 0xA697, 0xA699})  # Word 97 and later, 95 and 6; [MS-DOC] 2.5.2
FIB_ENCRYPTED = 0x0100
BOF, FILEPASS = 0x0809, 0x002F  # [MS-XLS] 2.4.21, 2.4.117
ENCRYPTED_USER = 0xF3D1C4DF  # [MS-PPT] 2.3.2
FAULTS = (OSError, EOFError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, struct.error)


def is_compound(path: str) -> bool:
    """Whether the file begins like an OLE compound file."""
    with Path(path).open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def main_stream(path: str) -> str | None:
    """What the names of the streams make of this file: "doc", "xls", "ppt", ENCRYPTED_OOXML or None.

    Raises:
        PermanentError: `broken`, if its directory cannot be read.
    """
    with _open(path) as ole:
        return next((MAIN_STREAMS[name] for name in _names(ole, STREAM, root=True) if name in MAIN_STREAMS), None)


def inspect(path: str, *, limits: str, **_: Any) -> dict[str, Any]:
    """The flags "macros" and "encrypted" of an Office document whose main stream is whole.

    Raises:
        PermanentError: `active_content`, `broken`.
    """
    with _open(path) as ole:
        entry = _main_entry(ole)
        _check_chains(ole, entry, Path(path).stat().st_size)
        encrypted = _is_encrypted(ole, entry)
        macros = bool(MACRO_STORAGES & set(_names(ole, STORAGE)))
    flags = (*(["macros"] if macros else []), *(["encrypted"] if encrypted else []))
    check_active(flags, refuse=parse_limits(limits).refuse_active)
    return {"flags": list(flags)}


@contextmanager
def _open(path: str) -> Iterator[Any]:
    with decoding("an OLE document", *FAULTS, RecursionError), olefile.OleFileIO(path) as ole:
        yield ole


def _entries(ole: Any, of_type: int, *, root: bool = False) -> Iterator[Any]:
    found = ole.root.kids if root else ole.direntries
    return (entry for entry in found if entry is not None and entry.entry_type == of_type)


def _names(ole: Any, of_type: int, *, root: bool = False) -> list[str]:
    return [entry.name.lower() for entry in _entries(ole, of_type, root=root)]


def _main_entry(ole: Any) -> Any:
    found = [entry for entry in _entries(ole, STREAM, root=True) if entry.name.lower() in MAIN_STREAMS]
    if not found:
        raise broken("has no main stream")
    return found[0]


def _check_chains(ole: Any, main: Any, file_size: int) -> None:
    """Follows the sectors of the directory, the mini stream and the main stream, without reading them.

    Raises:
        PermanentError: `broken`, if one ends early, leaves the file, or they run in a circle or into each other.
    """
    seen: set[int] = set()
    chains = [(ole.first_dir_sector, 1), *((entry.isectStart, _sectors(ole, entry)) for entry in (ole.root, main))]
    if sum(sectors for _, sectors in chains) > min(file_size // ole.sectorsize, len(ole.fat)):
        raise broken("is shorter than its directory says")
    for start, sectors in chains:
        if sectors:
            _follow(ole.fat, start, sectors, seen)


def _sectors(ole: Any, entry: Any) -> int:
    """How many sectors an entry needs in the large table; none for what lies in the mini stream."""
    small = entry.entry_type == STREAM and entry.size < ole.minisectorcutoff
    return 0 if small else -(-entry.size // ole.sectorsize)


def _follow(table: Any, sector: int, needed: int, seen: set[int]) -> None:
    found = 0
    while sector != olefile.ENDOFCHAIN:
        if not 0 <= sector < len(table) or sector in seen:
            break
        seen.add(sector)
        found += 1
        sector = table[sector]
    if sector in seen or found < needed:
        raise broken("has a chain of sectors that ends early or never")


def _head(ole: Any, entry: Any) -> bytes:
    if entry.size < ole.minisectorcutoff:
        return bytes(ole.openstream(entry.name).read(HEAD))
    return bytes(ole.getsect(entry.isectStart)[:HEAD])


def _is_encrypted(ole: Any, entry: Any) -> bool:
    """Whether the first bytes of a main stream say that the rest is encrypted.

    Raises:
        PermanentError: `broken`, if they are not what this stream begins with.
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
            raise broken("has no Word document in its main stream")
        return bool(flags & FIB_ENCRYPTED)
    return _has_filepass(head)


def _has_filepass(head: bytes) -> bool:
    record, length = struct.unpack_from("<HH", head)
    if record != BOF:
        raise broken("has no Excel workbook in its main stream")
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
