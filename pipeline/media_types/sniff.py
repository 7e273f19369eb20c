"""What a file is, by its content alone. Runs in the sandbox.

Containers are looked into here, and some types are told by a signature that is theirs alone. What is left libmagic
decides; whatever is nothing it knows is looked through for the marks of a few types that may begin anyhow.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import magic

from pipeline.errors import PermanentError
from pipeline.media_types import MEDIA_TYPES, boxes, matroska, mpeg, ole, opc
from pipeline.media_types.limits import Limits, parse_limits

HEAD = 65536
PDF_WITHIN = 1024  # where readers look for the mark of a PDF, after garbage in front
# What libmagic calls the types that need no second look.
PLAIN = {
    "image/jpeg": "jpeg", "image/png": "png", "image/apng": "png", "image/vnd.mozilla.apng": "png", "image/gif": "gif",
    "application/pdf": "pdf", "video/quicktime": "mov", "video/x-matroska": "mkv", "video/webm": "webm",
    "audio/amr": "amr", "audio/amr-wb": "amr", "audio/flac": "flac", "audio/x-flac": "flac",
    "audio/x-hx-aac-adts": "aac", "audio/aac": "aac", "text/rtf": "rtf", "application/rtf": "rtf",
    "text/plain": "text", "text/csv": "csv", "application/csv": "csv",
}  # fmt: skip
JPEG, JPEG_LS = b"\xff\xd8\xff", b"\xf7"
SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"%PDF-", "pdf"),
)
UNKNOWN = frozenset({"application/octet-stream", "text/plain", "application/x-empty", ""})
OGG_CODECS = {b"OpusHead": "ogg", b"\x01vorbis": "ogg", b"\x7fFLAC": "ogg"}
OGG_SKIPPED = (b"fishead\0", b"fisbone\0")  # describes the other streams
AVI_STREAM = re.compile(rb"strh[\s\S]{4}(vids|auds|iavs)")  # iavs: DV, both in one stream
RIFF_FORMS = {b"WAVE": "wav", b"AVI ": "avi", b"WEBP": "webp"}


def identify(path: str, *, limits: str) -> dict[str, Any]:
    """What the file is: `name` of its type or None, `mime` of that type or else as libmagic says, `fault` or None.

    A name may be missing from the table: nobody allows it then. `fault`, a code and a message, says why a container
    could not be looked into. `sound_only`: it is of a type that is made for video, and holds sound and no picture.
    """
    head = _head(path)
    try:
        name, fault = _look(path, head, parse_limits(limits)), None
    except PermanentError as error:
        name, fault = None, {"code": error.code, "message": error.message}
    row = MEDIA_TYPES.get(name or "")
    mime = row.mime if row else _mime(path)
    return {"name": name, "mime": mime, "fault": fault, "sound_only": name in SOUND_ONLY and SOUND_ONLY[name](path)}


def _head(path: str) -> bytes:
    file = os.open(path, os.O_RDONLY)
    try:
        return os.read(file, HEAD)
    finally:
        os.close(file)


def _mime(path: str) -> str:
    """What libmagic calls it. It reads up to a megabyte and takes its time, so it is asked only where that decides."""
    return str(_magic().from_file(path)).lower()


@cache
def _magic() -> Any:
    return magic.Magic(mime=True)


def _look(path: str, head: bytes, limits: Limits) -> str | None:
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return opc.main_type(path, expansion=limits.expansion, entries=limits.entries)
    if head.startswith(ole.MAGIC):
        return ole.main_stream(path)
    for begins, look in CONTAINERS:
        if begins(head):
            return look(path, head)
    return _signed(head) or _look_further(path, head)


def _signed(head: bytes) -> str | None:
    """The type whose signature the file begins with, where no other type begins so."""
    if head.startswith(JPEG) and head[3:4] != JPEG_LS:
        return "jpeg"
    return next((name for signature, name in SIGNATURES if head.startswith(signature)), None)


def _look_further(path: str, head: bytes) -> str | None:
    mime = "" if head.startswith(b"ID3") else _mime(path)
    if mime.startswith("audio/mpeg") or head.startswith(b"ID3"):
        return _look_past_tag(path, head)
    if mime in UNKNOWN:
        return _look_for_marks(path, head) or PLAIN.get(mime)
    return PLAIN.get(mime)


def _look_at_boxes(path: str, head: bytes) -> str | None:
    name = boxes.family(head)
    if name not in {"mp4", "m4a", "3gp"}:
        return name
    with Path(path).open("rb") as file:
        found = boxes.handlers(file)
    if b"vide" in found:
        return "mp4" if name == "m4a" else name
    if b"soun" in found:
        return "3ga" if name == "3gp" else "m4a"
    return name


def _look_at_riff(_path: str, head: bytes) -> str | None:
    return RIFF_FORMS.get(head[8:12])


def _look_at_ogg(_path: str, head: bytes) -> str | None:
    """Ogg by its streams: all of them begin before the first one goes on (RFC 3533 4)."""
    names = [_ogg_codec(packet) for packet in _first_packets(head) if not packet.startswith(OGG_SKIPPED)]
    return names[0] if len(set(names)) == 1 else None


def _ogg_codec(packet: bytes) -> str | None:
    return next((name for mark, name in OGG_CODECS.items() if packet.startswith(mark)), None)


def _first_packets(head: bytes) -> list[bytes]:
    packets: list[bytes] = []
    at = 0
    while head[at : at + 4] == b"OggS" and len(head) > at + 27 and head[at + 5] & 2:
        table = head[at + 27 : at + 27 + head[at + 26]]
        start = at + 27 + len(table)
        packets.append(head[start : start + sum(table)])
        at = start + sum(table)
    return packets


def _look_past_tag(path: str, head: bytes) -> str | None:
    """What follows an ID3 tag; without one an MPEG frame has been found already."""
    if not head.startswith(b"ID3"):
        return "mp3"
    size = sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=False)) + 10
    with Path(path).open("rb") as file:
        file.seek(size)
        rest = file.read(16)
    if rest.startswith(b"fLaC"):
        return "flac"
    return "aac" if mpeg.is_adts(rest) else "mp3"


def _look_for_marks(path: str, head: bytes) -> str | None:
    if b"%PDF-" in head[:PDF_WITHIN]:
        return "pdf"
    if mpeg.is_adts(head):
        return "aac"
    with Path(path).open("rb") as file:
        return "mp3" if mpeg.has_mp3(file.read(2 * mpeg.MAX_GARBAGE)) else None


def _mov_is_sound_only(path: str) -> bool:
    with Path(path).open("rb") as file:
        found = boxes.handlers(file)
    return b"soun" in found and b"vide" not in found


def _matroska_is_sound_only(path: str) -> bool:
    with Path(path).open("rb") as file:
        found = matroska.track_types(file)
    return matroska.AUDIO in found and matroska.VIDEO not in found


def _avi_is_sound_only(path: str) -> bool:
    with Path(path).open("rb") as file:
        found = {match[1] for match in AVI_STREAM.finditer(file.read(HEAD))}
    return found == {b"auds"}


# The types that hold both and have no type of their own for sound alone, as MP4 has M4A.
SOUND_ONLY: dict[str | None, Callable[[str], bool]] = {
    "mov": _mov_is_sound_only,
    "avi": _avi_is_sound_only,
    "mkv": _matroska_is_sound_only,
    "webm": _matroska_is_sound_only,
}
CONTAINERS: tuple[tuple[Callable[[bytes], bool], Callable[[str, bytes], str | None]], ...] = (
    (lambda head: head[4:8] == b"ftyp", _look_at_boxes),
    (lambda head: head.startswith((b"RIFF", b"RF64", b"BW64")), _look_at_riff),
    (lambda head: head.startswith(b"OggS"), _look_at_ogg),
)
