"""Encrypted videos and sounds, by FFmpeg and by hand."""

from __future__ import annotations

from tests.support.matroska import element, with_tracks
from tests.support.samples import sample, sound, video

CENC = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": "00" * 16, "encryption_kid": "11" * 16}


def cenc_video(**muxer: str) -> bytes:
    """An MP4 with common encryption, as streaming services use it."""
    return video("mp4", "libx264", **CENC, **muxer)


def cenc_sound() -> bytes:
    return sound("ipod", "aac", rate=44100, **CENC)


def fairplay_sound() -> bytes:
    """An M4A whose samples have the format of iTunes' protection, and no data that plays."""
    return scrambled(sample("m4a/aac").replace(b"mp4a\0\0\0\0", b"drms\0\0\0\0"))


def scrambled(content: bytes) -> bytes:
    """The same boxes, with other bytes in the media data."""
    at = content.index(b"mdat") + 4
    end = at - 8 + int.from_bytes(content[at - 8 : at - 4], "big")
    return content[:at] + bytes(byte ^ 0x5A for byte in content[at:end]) + content[end:]


def encrypted_webm() -> bytes:
    """A WebM whose track names the key of its encryption (ContentEncodings, RFC 9559 5.1.4.1.31)."""
    content = video("webm", "libvpx", live="1", frames=3)
    key = element(b"\x47\xe1", b"\x05") + element(b"\x47\xe2", bytes(range(16)))
    encoding = element(b"\x50\x33", b"\x01") + element(b"\x50\x35", key)
    return with_tracks(content, into_first=element(b"\x6d\x80", element(b"\x62\x40", encoding)))
