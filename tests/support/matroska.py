"""Elements of Matroska and WebM files, added by hand. Layout: RFC 8794, RFC 9559."""

from __future__ import annotations

TRACKS, TRACK_ENTRY = b"\x16\x54\xae\x6b", b"\xae"
SUBTITLES = 0x11


def element(number: bytes, body: bytes) -> bytes:
    """An element, with its size in eight bytes."""
    return number + b"\x01" + len(body).to_bytes(7, "big") + body


def with_tracks(content: bytes, *, into_first: bytes = b"", behind: bytes = b"") -> bytes:
    """The file, recorded live, with more elements in its first track or more tracks behind it."""
    tracks = content.index(TRACKS, content.index(TRACKS) + 1)  # the first one is its entry in the table of contents
    body, end = _body(content, tracks + len(TRACKS))
    entry, entry_end = _body(content, content.index(TRACK_ENTRY, body) + 1)
    first = element(TRACK_ENTRY, content[entry:entry_end] + into_first)
    return content[:tracks] + element(TRACKS, first + content[entry_end:end] + behind) + content[end:]


def subtitle_track() -> bytes:
    """A track of subtitles in plain text."""
    fields = {b"\xd7": b"\x02", b"\x73\xc5": b"\x02", b"\x83": bytes([SUBTITLES]), b"\x86": b"S_TEXT/UTF8"}
    return element(TRACK_ENTRY, b"".join(element(number, body) for number, body in fields.items()))


def _body(content: bytes, at: int) -> tuple[int, int]:
    """Start and end of an element's body, from the position of its size."""
    width = 9 - content[at].bit_length()
    size = int.from_bytes(content[at : at + width], "big") & ((1 << 7 * width) - 1)
    return at + width, at + width + size
