"""Office containers made by hand: valid and inconsistent OLE compound files and OPC packages."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping

SECTOR = 512
FREE, END, FAT = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD
STORAGE, STREAM, ROOT = 1, 2, 5
CUTOFF = 4096


def ole(streams: Mapping[str, bytes], *, storages: tuple[str, ...] = (), padding: int = 0) -> bytes:
    """A compound file without a mini stream, with `padding` bytes before its directory."""
    bodies = [content.ljust(CUTOFF, b"\0") for content in streams.values()]
    entries = [("Root Entry", ROOT, END, 0)]
    fat: list[int] = []
    data = b""
    for name, body in zip(streams, bodies, strict=True):
        entries.append((name, STREAM, len(fat), len(body)))
        data += _sectors(body, fat)
    entries += [(name, STORAGE, 0, 0) for name in storages]
    data += _sectors(b"\0" * padding, fat) if padding else b""
    directory = len(fat)
    data += _sectors(b"".join(_entry(index, *entry, count=len(entries)) for index, entry in enumerate(entries)), fat)
    count = next(n for n in range(1, 110) if (len(fat) + n) * 4 <= n * SECTOR)
    places = list(range(len(fat), len(fat) + count))
    table = [*fat, *([FAT] * count)]
    table += [FREE] * (count * SECTOR // 4 - len(table))
    head = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16)
    head += struct.pack("<HHHHH6x", 0x3E, 3, 0xFFFE, 9, 6)
    head += struct.pack("<IIIIIIIII", 0, count, directory, 0, CUTOFF, END, 0, END, 0)
    head += struct.pack("<109I", *places, *[FREE] * (109 - count))
    return head + data + struct.pack(f"<{len(table)}I", *table)


def _sectors(body: bytes, fat: list[int]) -> bytes:
    count = -(-len(body) // SECTOR)
    fat += [*range(len(fat) + 1, len(fat) + count), END]
    return body.ljust(count * SECTOR, b"\0")


def _entry(index: int, name: str, kind: int, start: int, size: int, *, count: int) -> bytes:
    """A directory entry. All are children of the root, linked through their right siblings."""
    text = (name + "\0").encode("utf-16-le")
    right = index + 1 if 0 < index < count - 1 else FREE
    child = 1 if index == 0 and count > 1 else FREE
    head = text.ljust(64, b"\0") + struct.pack("<HBBIII", len(text), kind, 1, FREE, right, child)
    return head + bytes(36) + struct.pack("<IQ", start, size)


def word_stream(*, encrypted: bool = False) -> bytes:
    return struct.pack("<H8sH", 0xA5EC, b"\xc1\0\x16\x04\0\0\0\0", 0x0100 if encrypted else 0)


def workbook_stream(*, encrypted: bool = False) -> bytes:
    begin = struct.pack("<HH16s", 0x0809, 16, b"\0\x06\x05\0")
    lock = struct.pack("<HH6s", 0x002F, 6, b"\x01\0") if encrypted else b""
    return begin + lock + struct.pack("<HH", 0x000A, 0)


def current_user_stream(*, encrypted: bool = False) -> bytes:
    return struct.pack("<HHIII", 0, 0x0FF6, 32, 20, 0xF3D1C4DF if encrypted else 0xE391C05F)


WORD_MAIN = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
CONTENT_TYPES = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="xml" ContentType="application/xml"/>'
    '<Override PartName="/word/document.xml" ContentType="{main}"/></Types>'
)
DOCUMENT = (
    '<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main">'
    "<w:body><w:p/></w:body></w:document>"
)


def package(
    extra: Mapping[str, bytes] | None = None,
    *,
    main: str = WORD_MAIN,
    document: str = DOCUMENT,
    types: str = CONTENT_TYPES,
) -> bytes:
    """A minimal DOCX, with the extra entries."""
    parts = {"[Content_Types].xml": types.format(main=main).encode(), "word/document.xml": document.encode()}
    return zipped({**parts, **(extra or {})})


def binary_workbook() -> bytes:
    """A minimal XLSB: the records that begin and end a workbook."""
    types = CONTENT_TYPES.replace("word/document.xml", "xl/workbook.bin")
    main = "application/vnd.ms-excel.sheet.binary.macroEnabled.main"
    book = b"\x83\x01\0\x84\x01\0"
    return zipped({"[Content_Types].xml": types.format(main=main).encode(), "xl/workbook.bin": book})


def zipped(entries: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return out.getvalue()


def with_entry(content: bytes, name: str, body: bytes) -> bytes:
    """A package with one more entry."""
    out = io.BytesIO(content)
    with zipfile.ZipFile(out, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, body)
    return out.getvalue()


def retyped(content: bytes, old: str, new: str) -> bytes:
    """The package with `old` replaced by `new` in its list of content types."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    types = parts["[Content_Types].xml"].decode()
    assert old in types
    return zipped({**parts, "[Content_Types].xml": types.replace(old, new).encode()})
