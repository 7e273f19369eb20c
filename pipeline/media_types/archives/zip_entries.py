"""The entries of a zip archive: their names, and their local headers compared with the directory.

Layout: APPNOTE.TXT 6.3.10. OPC packages are either stored or deflated, and their names are compared without case
(ECMA-376 part 2, annex C and 6.2.2.3). Office reads "\\" in a name as "/".
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterable
from typing import IO

from pipeline.sandbox import Reason, Refusal

LOCAL_HEADER = b"PK\x03\x04"
LOCAL_SIZE = 30
ENCRYPTED, STREAMED, UTF8 = 0x1, 0x8, 0x800  # bits of the general purpose flags
IN_EXTRA = 0xFFFFFFFF  # in place of a size that is in the zip64 field
ZIP64 = 0x0001  # tag of the extra field with the sizes in 64 bits
SYMLINK, FILE_TYPE = 0o120000, 0o170000  # of st_mode, in the upper half of the external attributes
UNIX = 3


def comparable(name: str) -> str:
    """The form in which names of parts are compared: with "/" only, in lower case, without "/" at the start."""
    return name.replace("\\", "/").lower().lstrip("/")


def check_names(entries: Iterable[zipfile.ZipInfo]) -> None:
    """Checks that no name leads out of the archive.

    Raises:
        PermanentError: `type_not_allowed`.
    """
    for entry in entries:
        is_renamed = entry.filename != entry.orig_filename
        if _leads_out(entry.orig_filename) or (is_renamed and _leads_out(entry.filename)) or _is_link(entry):
            raise Refusal(Reason.ZIP_NAMES)


def check_equal_names(entries: Iterable[zipfile.ZipInfo]) -> None:
    """Checks that no two names are the same part to Office. Folders have no content and may come twice.

    Raises:
        PermanentError: `broken`.
    """
    seen: set[str] = set()
    for entry in entries:
        name = comparable(entry.filename)
        if name in seen and not name.endswith("/"):
            raise Refusal(Reason.ZIP_EQUAL_NAMES)
        seen.add(name)


def data_start(file: IO[bytes], entry: zipfile.ZipInfo, *, is_unpacked: bool = True) -> int:
    """Offset of the bytes of an entry, after a comparison of its local header with the directory.

    Raises:
        PermanentError: `broken`: they differ; or the entry `is_unpacked`, and encrypted or of an unknown method.
    """
    file.seek(entry.header_offset)
    head = file.read(LOCAL_SIZE)
    if len(head) < LOCAL_SIZE or not head.startswith(LOCAL_HEADER):
        raise Refusal(Reason.ZIP_NO_HEADER)
    flags, method = struct.unpack_from("<HH", head, 6)
    packed, size, name_length, extra_length = struct.unpack_from("<IIHH", head, 18)
    if is_unpacked and (flags | entry.flag_bits) & ENCRYPTED:
        raise Refusal(Reason.ZIP_ENCRYPTED)
    if is_unpacked and method not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise Refusal(Reason.ZIP_METHOD)
    name = file.read(name_length)
    if method != entry.compress_type or not _is_name(name, entry):
        raise Refusal(Reason.ZIP_ENTRIES_DIFFER)
    if (packed, size) != (entry.compress_size, entry.file_size):
        sizes = _zip64_sizes(file.read(extra_length), packed=packed, size=size)
        _check_sizes(entry, sizes, streamed=bool(flags & STREAMED))
    return int(entry.header_offset + LOCAL_SIZE + name_length + extra_length)


def _check_sizes(entry: zipfile.ZipInfo, local: tuple[int | None, int | None], *, streamed: bool) -> None:
    """Compares the packed and unpacked size of the local header with the directory.

    A streamed entry has its sizes behind its bytes. Some writers leave only one of the two fields empty.
    """
    for size, declared in zip(local, (entry.compress_size, entry.file_size), strict=True):
        if size is not None and size != declared and not (streamed and size == 0):
            raise Refusal(Reason.ZIP_SIZES_DIFFER)


def _zip64_sizes(extra: bytes, *, packed: int, size: int) -> tuple[int | None, int | None]:
    """Packed and unpacked size with those of the zip64 field; None for a size that the field lacks."""
    at = 0
    while at + 4 <= len(extra):
        tag, length = struct.unpack_from("<HH", extra, at)
        if tag == ZIP64:
            values = iter(struct.unpack_from(f"<{min(length, len(extra) - at - 4) // 8}Q", extra, at + 4))
            unpacked = next(values, None) if size == IN_EXTRA else size
            return (next(values, None) if packed == IN_EXTRA else packed), unpacked
        at += 4 + length
    return (None if packed == IN_EXTRA else packed), (None if size == IN_EXTRA else size)


def _is_name(local: bytes, entry: zipfile.ZipInfo) -> bool:
    declared = entry.orig_filename.encode("utf-8" if entry.flag_bits & UTF8 else "cp437")
    return local == declared or _comparable_bytes(local) == _comparable_bytes(declared)


def _comparable_bytes(name: bytes) -> bytes:
    return name.replace(b"\\", b"/").lower()


def _leads_out(name: str) -> bool:
    path = name.replace("\\", "/")
    return path.startswith("/") or path[1:2] == ":" or "\0" in path or (".." in path and ".." in path.split("/"))


def _is_link(entry: zipfile.ZipInfo) -> bool:
    return entry.create_system == UNIX and entry.external_attr >> 16 & FILE_TYPE == SYMLINK
