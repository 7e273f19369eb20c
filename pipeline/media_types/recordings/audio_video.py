"""Check of audio and video with FFmpeg (PyAV): streams, duration, and the first frames decoded. Runs in the sandbox."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any

import av
import av.error
import av.logging
from av import AudioFrame, AudioStream, VideoFrame, VideoStream
from av.container import InputContainer
from av.stream import Disposition

from pipeline.errors import Code, PermanentError
from pipeline.media_types.limits import Limits, parse_limits
from pipeline.media_types.recordings import boxes
from pipeline.media_types.rejections import check_active, decoding
from pipeline.sandbox import Reason, Refusal

DEMUXERS = {
    "mp4": "mov", "mov": "mov", "3gp": "mov", "3ga": "mov", "m4a": "mov", "avi": "avi", "mkv": "matroska",
    "webm": "matroska", "ogg": "ogg", "mp3": "mp3", "wav": "wav", "aac": "aac", "amr": "amr", "flac": "flac",
}  # fmt: skip
COUNTED = frozenset({"aac", "amr"})  # no duration in the header: FFmpeg's estimate from the bit rate is too rough
MISSING = {"audio": "no audio stream", "ptt": "no audio stream", "video": "no video stream"}
NO_STREAM = "no video stream and no audio stream"
FIRST_FRAMES = 3  # decoded; a file that yields none is broken
TRIED_PACKETS = 300  # behind a tag or garbage the first packets may be damaged, which players accept
DECODE_ERRORS = (av.FFmpegError, ValueError, LookupError, TypeError, ArithmeticError, UnicodeError)

KEY_ID = "enc_key_id"  # FFmpeg's name of the key of an encrypted Matroska track

av.logging.set_level(av.logging.PANIC)


def inspect(file: int, *, name: str, kind: str, limits: str, container: InputContainer | None = None) -> dict[str, Any]:
    """Duration in milliseconds; for video also width and height as displayed (a rotation by 90° is applied).

    The duration is the container's, or the end of the last packet if the container has none. A file of kind audio or
    ptt needs an audio stream, one of kind video a video stream, a document either. `container` is the file if it is
    open already; the caller closes it. A file with an encrypted track has the flag "encrypted", and need not decode.

    Raises:
        PermanentError: `too_many_pixels`, `too_long`, `active_content`, `empty`, `broken`.
    """
    caps = parse_limits(limits)
    flags: list[str] = []
    try:
        with decoding(name, *DECODE_ERRORS), _opened(file, name, container) as media:
            flags = ["encrypted"] if is_encrypted(file, name, media) else []
            facts = _facts(file, name=name, kind=kind, media=media, caps=caps, encrypted=bool(flags))
    except PermanentError as error:
        if error.code != Code.BROKEN or not is_encrypted(file, name, container):
            raise
        flags, facts = ["encrypted"], {}
    check_active(tuple(flags), refuse=caps.refuse_active)
    return {**facts, "flags": flags}


def is_encrypted(file: int, name: str, container: InputContainer | None) -> bool:
    """Whether a track is encrypted: a video or sound that only a licence or a password makes playable."""
    if DEMUXERS[name] == "mov":
        return boxes.is_encrypted(file)
    if container is None or DEMUXERS[name] != "matroska":
        return False
    return any(KEY_ID in stream.metadata for stream in container.streams)


def is_encrypted_sound(file: int) -> bool:
    """Whether an MP4 or QuickTime file that FFmpeg cannot open has encrypted sound and no video."""
    handlers = {track.handler for track in boxes.tracks(file)}
    return b"soun" in handlers and b"vide" not in handlers and boxes.is_encrypted(file)


def _opened(file: int, name: str, container: InputContainer | None) -> AbstractContextManager[InputContainer]:
    return open_media(file, DEMUXERS[name]) if container is None else nullcontext(container)


def open_media(file: int, demuxer: str) -> InputContainer:
    """The container in an open file, with this demuxer and the protocol "fd" alone: FFmpeg would follow playlists."""
    os.lseek(file, 0, os.SEEK_SET)  # FFmpeg reads a duplicate of the descriptor, which shares its position
    options = {"format_whitelist": demuxer, "protocol_whitelist": "fd", "fd": str(file)}
    return av.open("fd:", format=demuxer, container_options=options, metadata_errors="replace")


def try_open(file: int, name: str) -> InputContainer | None:
    """Opens a file of this type; None if FFmpeg cannot, for the check then raises the reason."""
    try:
        with decoding(name, *DECODE_ERRORS):
            return open_media(file, DEMUXERS[name])
    except PermanentError:
        return None


def _main_stream(container: InputContainer, kind: str) -> AudioStream | VideoStream:
    streams: list[AudioStream | VideoStream] = []
    if kind not in {"audio", "ptt"}:
        streams += moving_pictures(container)
    if kind != "video":
        streams += container.streams.audio
    if not streams:
        raise Refusal(Reason.NO_STREAM, missing=MISSING.get(kind, NO_STREAM))
    if streams[0].codec_context is None:
        raise Refusal(Reason.UNKNOWN_CODEC)
    return streams[0]


def moving_pictures(container: InputContainer) -> list[VideoStream]:
    """The video streams without attached pictures, such as covers and the pictures of chapters."""
    return [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]


def _facts(file: int, *, name: str, kind: str, media: InputContainer, caps: Limits, encrypted: bool) -> dict[str, Any]:
    stream = _main_stream(media, kind)
    _check_pixels(stream, caps)
    frames = [] if encrypted else _first_frames(media, stream)
    if not frames and not encrypted:
        raise _undecodable(file, name)
    duration = duration_ms(media, stream, counted=name in COUNTED)
    if duration > caps.duration_s * 1000:
        raise Refusal(Reason.TOO_LONG, seconds=duration // 1000, allowed=caps.duration_s)
    return {**(display_size(frames[0]) if frames else _coded_size(stream)), "duration_ms": duration}


def _check_pixels(stream: AudioStream | VideoStream, caps: Limits) -> None:
    if not isinstance(stream, VideoStream):
        return
    width, height = stream.codec_context.width, stream.codec_context.height
    if width * height > caps.pixels:
        raise Refusal(Reason.TOO_MANY_PIXELS, width=width, height=height, allowed_mpx=caps.pixels / 1e6)


def _first_frames(container: InputContainer, stream: AudioStream | VideoStream) -> list[AudioFrame | VideoFrame]:
    """At least FIRST_FRAMES decoded frames, fewer if the file has no more."""
    stream.codec_context.thread_count = 1
    frames: list[AudioFrame | VideoFrame] = []
    for tried, packet in enumerate(packets(container, stream)):
        with suppress(av.error.InvalidDataError):
            frames += stream.decode(packet)
        if len(frames) >= FIRST_FRAMES or tried >= TRIED_PACKETS:
            break
    return frames


def display_size(frame: AudioFrame | VideoFrame) -> dict[str, int]:
    """Width and height of a frame after its rotation; nothing for sound."""
    if not isinstance(frame, VideoFrame):
        return {}
    turned = frame.rotation % 180 != 0
    return {"width": frame.height, "height": frame.width} if turned else {"width": frame.width, "height": frame.height}


def _coded_size(stream: AudioStream | VideoStream) -> dict[str, int]:
    if not isinstance(stream, VideoStream):
        return {}
    return {"width": stream.codec_context.width, "height": stream.codec_context.height}


def packets(container: InputContainer, stream: AudioStream | VideoStream) -> Iterator[Any]:
    """Packets of a stream until the file ends or is damaged: a truncated file plays up to that point."""
    try:
        yield from container.demux(stream)
    except (av.error.InvalidDataError, av.error.EOFError):
        return


def _undecodable(file: int, name: str) -> Refusal:
    return Refusal(Reason.NO_SAMPLES if name == "wav" and _wav_is_empty(file) else Reason.NO_FRAME)


def _wav_is_empty(file: int) -> bool:
    """Whether there is a data chunk without bytes."""
    head = os.pread(file, 65536, 0)
    start = head.find(b"data")
    return start >= 0 and len(head) <= start + 8


def duration_ms(container: InputContainer, stream: AudioStream | VideoStream, *, counted: bool = False) -> int:
    """Duration that the container states; the end of the last packet if it states none, or with `counted`."""
    if container.duration and container.duration > 0 and not counted:
        return int(container.duration // 1000)  # microseconds
    container.seek(0)
    end = 0
    for packet in packets(container, stream):
        if packet.pts is not None and packet.time_base:
            end = max(end, int((packet.pts + (packet.duration or 0)) * packet.time_base * 1000))
    return end
