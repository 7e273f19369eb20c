"""Records of Excel workbooks before XLSX. Layout: [MS-XLS] 2.1 and "Microsoft Excel File Format" for Excel 2 to 4.

Before Excel 5 a workbook was the sequence of records itself, without an OLE file around it. Time clocks, old payroll
programs and short scripts still write it.
"""

from __future__ import annotations

import os
import struct
from typing import Any

from pipeline.media_types.limits import parse_limits
from pipeline.media_types.rejections import check_active
from pipeline.sandbox import Reason, Refusal

FILEPASS, EOF = 0x002F, 0x000A
BEGINNINGS = frozenset({0x0009, 0x0209, 0x0409, 0x0809})  # records that begin a sheet in Excel 2, 3, 4, and 5 and later
LENGTHS = range(4, 17)  # bytes of the content of such a record
MACRO_SHEET = 0x0040
CONTENTS = frozenset({0x0005, 0x0010, 0x0020, MACRO_SHEET, 0x0100})  # workbook, sheet, chart, macros, workspace
BLANK = b"\0\t\n\r \x1a"
MAX_BYTES = 64_000_000  # larger workbooks are in an OLE file
MAX_RECORDS = 4_000_000  # about a second of CPU; 16,384 rows of 200 cells


def is_workbook(head: bytes) -> bool:
    """Whether a file begins with a sheet of Excel, outside of an OLE file."""
    if len(head) < 8:
        return False
    record, length, _, content = struct.unpack_from("<HHHH", head)
    return record in BEGINNINGS and length in LENGTHS and content in CONTENTS


def inspect(file: int, *, limits: str) -> dict[str, Any]:
    """The flags "macros" and "encrypted" of a workbook without an OLE file, after a check of all its records.

    Raises:
        PermanentError: `active_content`, `broken`.
    """
    if os.fstat(file).st_size > MAX_BYTES:
        raise Refusal(Reason.XLS_TOO_LONG)
    macros, encrypted = _walk(os.pread(file, MAX_BYTES, 0))
    flags = (*(["macros"] if macros else []), *(["encrypted"] if encrypted else []))
    check_active(flags, refuse=parse_limits(limits).refuse_active)
    return {"flags": list(flags)}


def has_filepass(head: bytes) -> bool:
    """Whether the first records of a workbook say that the rest is encrypted.

    Raises:
        PermanentError: `broken`: the first record begins no sheet.
    """
    record, length = struct.unpack_from("<HH", head)
    if record not in BEGINNINGS:
        raise Refusal(Reason.OLE_NO_EXCEL)
    position = 4 + length
    while position + 4 <= len(head):
        record, length = struct.unpack_from("<HH", head, position)
        if record == FILEPASS:
            return True
        position += 4 + length
    return False


def _walk(content: bytes) -> tuple[bool, bool]:
    """Follows the records to the end of the last sheet. Returns whether there is a macro sheet, and encryption."""
    macros = encrypted = False
    position = depth = 0
    for _ in range(MAX_RECORDS):
        if depth == 0 and not is_workbook(content[position : position + 8]):
            break
        if position + 4 > len(content):
            raise Refusal(Reason.XLS_CUT)
        record, length = struct.unpack_from("<HH", content, position)
        if record in BEGINNINGS:
            depth += 1
            macros = macros or content[position + 6 : position + 8] == MACRO_SHEET.to_bytes(2, "little")
        elif record == EOF:
            depth -= 1
        elif record == FILEPASS:
            encrypted = True
        position += 4 + length
    else:
        raise Refusal(Reason.XLS_TOO_LONG)
    if position > len(content):
        raise Refusal(Reason.XLS_CUT)
    if content[position:].strip(BLANK):
        raise Refusal(Reason.XLS_FOREIGN_BYTES)
    return macros, encrypted
