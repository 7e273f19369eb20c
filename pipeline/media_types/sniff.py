"""Identifies the type of a file by its content alone. Runs in the sandbox.

Containers are identified by their structure, some types by a signature that no other type has. libmagic decides about
the rest. A file that libmagic does not recognize is searched for PDF, AAC and MP3, which may begin behind other bytes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import magic
from av.container import InputContainer

from pipeline.media_types import MEDIA_TYPES
from pipeline.media_types.archives import zip_family
from pipeline.media_types.documents import ofx, vcard, xml_document
from pipeline.media_types.limits import Limits, parse_limits
from pipeline.media_types.office import ole, opc, xls_records
from pipeline.media_types.recordings import audio_video, boxes, brands, mpeg
from pipeline.sandbox import Refusal

HEAD = 65536  # bytes read for signatures and Ogg streams
TEXT_MARK = 256  # bytes in which the mark of a text format begins, behind white space
LIBMAGIC_BYTES = 1 << 20  # that libmagic reads of a file
END_OF_TEXT = b"\x1a"  # DOS and CP/M end texts with it; libmagic takes it for binary data
PDF_WITHIN = 1024  # bytes in which readers accept the mark of a PDF behind garbage
# libmagic's mime types of the types that need no further look.
LIBMAGIC_TYPES = {
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
UNKNOWN_MIMES = frozenset({"application/octet-stream", "text/plain", "application/x-empty", ""})
OGG_CODECS = {b"OpusHead": "ogg", b"\x01vorbis": "ogg", b"\x7fFLAC": "ogg"}
OGG_SKIPPED = (b"fishead\0", b"fisbone\0")  # streams that describe the other streams
RIFF_FORMS = {b"WAVE": "wav", b"AVI ": "avi", b"WEBP": "webp"}
RIFX_FORMS = {b"WAVE": "wav"}  # RIFF with the most significant byte first
# Containers whose type or kind depends on their streams: the type with a video stream, and with audio streams alone.
BY_STREAMS = {
    "mp4": ("mp4", "m4a"), "m4a": ("mp4", "m4a"), "3gp": ("3gp", "3ga"), "mov": ("mov", "mov"), "avi": ("avi", "avi"),
    "mkv": ("mkv", "mkv"), "webm": ("webm", "webm"),
}  # fmt: skip


def identify(file: int, *, limits: str) -> dict[str, Any]:
    """The fields of `identified`, without the open file."""
    with identified(file, limits=limits) as (content, _):
        return content


@contextmanager
def identified(file: int, *, limits: str) -> Iterator[tuple[dict[str, Any], InputContainer | None]]:
    """Identifies a file: its description, and the open container if it is audio or video of an allowed type.

    `name` is the type or None; it may be a name that MEDIA_TYPES does not have, which no setting allows. `mime` is that
    of the type, else libmagic's. `fault`, a Refusal's answer or None, says why a container could not be read.
    `sound_only` is true for a type that may hold video if this file has audio streams and no video stream.
    """
    head = os.pread(file, HEAD, 0)
    caps = parse_limits(limits)
    try:
        found, fault = _type_by_content(file, head, caps), None
    except Refusal as refusal:
        found, fault = None, refusal.answer
    name, refused_mime = (None, found) if found and "/" in found else (found, None)
    container = _open_container(file, name, caps)
    try:
        name, sound_only = _by_streams(file, name, container)
        media_type = MEDIA_TYPES.get(name or "")
        mime = media_type.mime if media_type else refused_mime or _mime(file)
        yield {"name": name, "mime": mime, "fault": fault, "sound_only": sound_only}, container
    finally:
        if container is not None:
            container.close()


def _open_container(file: int, name: str | None, caps: Limits) -> InputContainer | None:
    """The file as FFmpeg opens it. None if its streams decide nothing, or no type that they can make it is allowed."""
    if name is None or caps.checks.keys().isdisjoint(BY_STREAMS.get(name, ())):
        return None
    return audio_video.try_open(file, name)


def _by_streams(file: int, name: str | None, container: InputContainer | None) -> tuple[str | None, bool]:
    """The type and `sound_only`, from the streams if the container could be opened."""
    if name is None or name not in BY_STREAMS:
        return name, False
    with_video, audio_alone = BY_STREAMS[name]
    if container is None:
        sound_only = audio_video.DEMUXERS[name] == "mov" and audio_video.is_encrypted_sound(file)
    elif audio_video.moving_pictures(container):
        return with_video, False
    else:
        sound_only = bool(container.streams.audio)
    return (audio_alone, audio_alone == with_video) if sound_only else (name, False)


def _mime(file: int) -> str:
    """libmagic's mime type. It reads up to a megabyte (0.25 ms), so it is called only if nothing else decides."""
    os.lseek(file, 0, os.SEEK_SET)
    mime = str(_magic().from_descriptor(file)).lower()
    size = os.fstat(file).st_size
    if mime != "application/octet-stream" or size > LIBMAGIC_BYTES or os.pread(file, 1, size - 1) != END_OF_TEXT:
        return mime
    text = os.pread(file, size, 0).rstrip(END_OF_TEXT)
    return str(_magic().from_buffer(text)).lower() if text else mime


@cache
def _magic() -> Any:
    return magic.Magic(mime=True)


def _type_by_content(file: int, head: bytes, caps: Limits) -> str | None:
    """Name of the type, or the mime type of content that is never accepted. None: libmagic names it."""
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip_type(file, expansion=caps.expansion, entries=caps.entries)
    if head.startswith(ole.MAGIC):
        return ole.main_stream(file)
    if head[4:8] in boxes.FIRST_BOXES and (brand := boxes.movie_brand(file)) is not None:
        return brands.family(brand) if brand else "mov"
    for matches, container_type in CONTAINERS:
        if matches(head):
            return container_type(head)
    return _type_by_signature(head) or _type_by_text(file, head) or _type_by_libmagic(file, head)


def _zip_type(file: int, *, expansion: int, entries: int) -> str | None:
    """The type of an archive: an Office document, or by its entries."""
    office = opc.main_type(file, expansion=expansion, entries=entries)
    return office or zip_family.type_by_entries(file, expansion=expansion, entries=entries)


def _type_by_text(file: int, head: bytes) -> str | None:
    """The type of a text format that begins with a mark of its own."""
    start = xml_document.decoded_start(head[:TEXT_MARK])
    if start.startswith(b"<"):
        return xml_document.type_by_root(file, head)
    return next((name for matches, name in TEXT_STARTS if matches(start)), None)


def _type_by_signature(head: bytes) -> str | None:
    if head.startswith(JPEG) and head[3:4] != JPEG_LS:
        return "jpeg"
    return next((name for signature, name in SIGNATURES if head.startswith(signature)), None)


def _type_by_libmagic(file: int, head: bytes) -> str | None:
    if head.startswith(b"ID3"):
        return _type_behind_id3(file, head)
    mime = _mime(file)
    if mime.startswith("audio/mpeg"):
        return "mp3"
    if mime in UNKNOWN_MIMES:
        return _type_by_search(file, head) or LIBMAGIC_TYPES.get(mime)
    return LIBMAGIC_TYPES.get(mime)


def _riff_type(head: bytes) -> str | None:
    return (RIFX_FORMS if head.startswith(b"RIFX") else RIFF_FORMS).get(head[8:12])


def _ogg_type(head: bytes) -> str | None:
    """The type by the codecs of all streams: each stream's first page precedes all other pages (RFC 3533 4)."""
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


def _type_behind_id3(file: int, head: bytes) -> str:
    size = sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=False)) + 10
    start = os.pread(file, 16, size)
    if start.startswith(b"fLaC"):
        return "flac"
    return "aac" if mpeg.is_adts(start) else "mp3"


def _type_by_search(file: int, head: bytes) -> str | None:
    if b"%PDF-" in head[:PDF_WITHIN]:
        return "pdf"
    if mpeg.is_adts(head):
        return "aac"
    return "mp3" if mpeg.has_mp3(os.pread(file, 2 * mpeg.MAX_GARBAGE, 0)) else None


CONTAINERS: tuple[tuple[Callable[[bytes], bool], Callable[[bytes], str | None]], ...] = (
    (lambda head: head[4:8] == b"ftyp", brands.family),
    (lambda head: head.startswith((b"RIFF", b"RIFX", b"RF64", b"BW64")), _riff_type),
    (lambda head: head.startswith(b"OggS"), _ogg_type),
    (xls_records.is_workbook, lambda _: "xls"),
    (lambda head: head.startswith(ole.OLD_WORD), ole.refuse_old_word),
)
TEXT_STARTS = ((vcard.starts_card, "vcf"), (ofx.starts_header, "ofx"))
