"""Workbooks of Excel 2 to 5 without an OLE file, made record by record."""

from __future__ import annotations

import struct

BEGINNINGS = {2: (0x0009, 4), 3: (0x0209, 6), 4: (0x0409, 6), 5: (0x0809, 8)}  # record and its length, by version
SHEET, MACRO_SHEET, WORKSPACE = 0x10, 0x40, 0x100
FILEPASS, END = 0x2F, 0x0A


def record(number: int, content: bytes = b"") -> bytes:
    return struct.pack("<HH", number, len(content)) + content


def beginning(version: int, content: int = SHEET) -> bytes:
    number, length = BEGINNINGS[version]
    return record(number, struct.pack("<HH", 0, content).ljust(length, b"\0"))


def sheet(version: int, *records: bytes, content: int = SHEET) -> bytes:
    """A sheet with a number in its first cell, and these records."""
    cell = record(0x0203, struct.pack("<HHHd", 0, 0, 0, 176.5))
    return beginning(version, content) + b"".join(records) + cell + record(END)
