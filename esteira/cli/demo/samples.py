"""The files of the demo: each supported type, some encrypted like WhatsApp's, and three that must be rejected."""

from __future__ import annotations

import base64
import hmac
import os
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from esteira.cli.demo import documents, pictures, recordings
from pipeline.errors import Code
from pipeline.models import Kind
from pipeline.security.whatsapp_media import media_keys

MAC_BYTES = 10
HTML = b"<!doctype html><html><head><title>Sign in</title></head><body><form>Password</form></body></html>"
Row = tuple[str, Kind, str, Callable[[], bytes]]  # file name, declared kind and type, function that makes the content
ENCRYPTED = {"photo.jpg", "voice.ogg", "sticker.webp", "film.mp4", "paper.pdf"}


@dataclass(frozen=True)
class Sample:
    """A file with what its sender declares. `expected_error` is None if it must be stored."""

    filename: str
    kind: Kind
    mimetype: str
    content: bytes
    expected_error: Code | None = None
    media_key: str | None = None


def samples() -> list[Sample]:
    """Makes all files."""
    rows: list[tuple[Row, Code | None]] = [*((row, None) for row in _valid()), *_invalid()]
    plain = [Sample(name, kind, mimetype, make(), error) for (name, kind, mimetype, make), error in rows]
    return [encrypt(sample) if sample.filename in ENCRYPTED else sample for sample in plain]


def _valid() -> list[Row]:
    office = "application/vnd.openxmlformats-officedocument"
    words = f"Processed by Esteira, number {random.randrange(10**9)}."  # noqa: S311
    return [
        ("photo.jpg", Kind.IMAGE, "image/jpeg", pictures.jpeg),
        ("photo.png", Kind.IMAGE, "image/png", pictures.png),
        ("photo.webp", Kind.IMAGE, "image/webp", pictures.webp),
        ("photo.gif", Kind.IMAGE, "image/gif", pictures.gif),
        ("photo.heic", Kind.IMAGE, "image/heic", pictures.heic),
        ("sticker.webp", Kind.STICKER, "image/webp", pictures.sticker),
        ("animated.webp", Kind.STICKER, "image/webp", pictures.animated_sticker),
        ("film.mp4", Kind.VIDEO, "video/mp4", lambda: recordings.video("mp4", "libx264")),
        ("film.avi", Kind.VIDEO, "video/x-msvideo", lambda: recordings.video("avi", "mpeg4")),
        ("film.mov", Kind.VIDEO, "video/quicktime", lambda: recordings.video("mov", "libx264")),
        ("film.3gp", Kind.VIDEO, "video/3gpp", lambda: recordings.video("3gp", "h263")),
        ("voice.ogg", Kind.PTT, "audio/ogg; codecs=opus", lambda: recordings.sound("ogg", "libopus")),
        ("song.ogg", Kind.AUDIO, "audio/ogg", lambda: recordings.sound("ogg", "vorbis", channels=2, strict="-2")),
        ("song.mp3", Kind.AUDIO, "audio/mpeg", lambda: recordings.sound("mp3", "libmp3lame")),
        ("song.wav", Kind.AUDIO, "audio/wav", lambda: recordings.sound("wav", "pcm_s16le")),
        ("song.m4a", Kind.AUDIO, "audio/mp4", lambda: recordings.sound("ipod", "aac")),
        ("song.aac", Kind.AUDIO, "audio/aac", lambda: recordings.sound("adts", "aac")),
        ("voice.amr", Kind.AUDIO, "audio/amr", lambda: recordings.sound("amr", "libopencore_amrnb", rate=8000)),
        ("paper.pdf", Kind.DOCUMENT, "application/pdf", pictures.pdf),
        ("letter.doc", Kind.DOCUMENT, "application/msword", lambda: documents.packaged_file("note.doc")),
        ("sheet.xls", Kind.DOCUMENT, "application/vnd.ms-excel", lambda: documents.packaged_file("table.xls")),
        ("letter.docx", Kind.DOCUMENT, f"{office}.wordprocessingml.document", lambda: documents.docx(words)),
        ("sheet.xlsx", Kind.DOCUMENT, f"{office}.spreadsheetml.sheet", lambda: documents.xlsx(words)),
        ("talk.pptx", Kind.DOCUMENT, f"{office}.presentationml.presentation", documents.pptx),
    ]


def _invalid() -> list[tuple[Row, Code]]:
    return [
        (("login page.jpg", Kind.IMAGE, "image/jpeg", lambda: HTML), Code.TYPE_NOT_ALLOWED),
        (("half a photo.jpg", Kind.IMAGE, "image/jpeg", lambda: pictures.jpeg()[:4000]), Code.BROKEN),
        (("a program.pdf", Kind.DOCUMENT, "application/pdf", _program), Code.TYPE_MISMATCH),
    ]


def _program() -> bytes:
    with Path(sys.executable).open("rb") as file:
        return file.read(65_536)


def encrypt(sample: Sample) -> Sample:
    """The sample as WhatsApp's servers store it: AES-256-CBC, then the first 10 bytes of an HMAC-SHA256."""
    media_key = base64.b64encode(os.urandom(32)).decode()
    keys = media_keys(media_key, sample.kind)
    padder = PKCS7(128).padder()
    cipher = Cipher(algorithms.AES(keys.cipher), modes.CBC(keys.iv)).encryptor()
    body = cipher.update(padder.update(sample.content) + padder.finalize()) + cipher.finalize()
    mac = hmac.digest(keys.mac, keys.iv + body, "sha256")[:MAC_BYTES]
    return replace(sample, content=body + mac, media_key=media_key)
