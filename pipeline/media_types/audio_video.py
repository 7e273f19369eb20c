"""Audio and video: streams, duration, and the first frames really decoded. Runs in the sandbox."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import av.error
import av.logging
from av import AudioFrame, AudioStream, VideoFrame, VideoStream
from av.container import InputContainer
from av.stream import Disposition

from pipeline.errors import Code, PermanentError
from pipeline.media_types.limits import Limits, parse_limits
from pipeline.media_types.rejections import broken, decoding

DEMUXERS = {
    "mp4": "mov", "mov": "mov", "3gp": "mov", "3ga": "mov", "m4a": "mov", "avi": "avi", "mkv": "matroska",
    "webm": "matroska", "ogg": "ogg", "mp3": "mp3", "wav": "wav", "aac": "aac", "amr": "amr", "flac": "flac",
}  # fmt: skip
COUNTED = frozenset({"aac", "amr"})  # without a length in their headers FFmpeg guesses it from the bit rate
MISSING = {"audio": "no sound", "ptt": "no sound", "video": "no picture"}
FIRST_FRAMES = 3
TRIED_PACKETS = 300  # after a tag or garbage the first packets may be damaged, as players accept
FAULTS = (av.FFmpegError, ValueError, LookupError, TypeError, ArithmeticError, UnicodeError)

av.logging.set_level(av.logging.PANIC)


def inspect(path: str, *, name: str, kind: str, limits: str) -> dict[str, Any]:
    """Duration in milliseconds, and for video width and height as it is shown (a rotation by 90° is applied).

    The duration is the container's; where it has none, the end of the last packet. A file sent as audio needs sound,
    one sent as video needs a picture, a document either. Only the one demuxer of the type is let at the bytes, and only
    the protocol "file": FFmpeg would open playlists and what they name.

    Raises:
        PermanentError: `too_many_pixels`, `too_long`, `empty`, `broken`.
    """
    caps = parse_limits(limits)
    with decoding(f"{name}", *FAULTS), open_media(path, DEMUXERS[name]) as container:
        stream = _main_stream(container, kind)
        _check_picture(stream, caps)
        frames = _first_frames(container, stream)
        if not frames:
            raise _undecodable(path, name)
        duration = duration_ms(container, stream, counted=name in COUNTED)
        if duration > caps.duration_s * 1000:
            raise PermanentError(Code.TOO_LONG, f"lasts {duration // 1000} s; at most {caps.duration_s} s are allowed")
        return {**_size(frames[0]), "duration_ms": duration}


def open_media(path: str, demuxer: str) -> InputContainer:
    """The file, for this one demuxer and the protocol "file" alone."""
    options = {"format_whitelist": demuxer, "protocol_whitelist": "file"}
    # Reached by its path the file would be a URL to FFmpeg, and a name with a colon a protocol.
    return av.open(f"file:{path}", format=demuxer, container_options=options, metadata_errors="replace")


def _main_stream(container: InputContainer, kind: str) -> AudioStream | VideoStream:
    video = pictures(container)
    audio = list(container.streams.audio)
    wanted: list[AudioStream | VideoStream] = []
    wanted += video if kind not in {"audio", "ptt"} else []
    wanted += audio if kind != "video" else []
    if not wanted:
        raise broken(f"holds {MISSING.get(kind, 'no picture and no sound')}")
    if wanted[0].codec_context is None:
        raise broken("is coded in a way that no player knows")
    return wanted[0]


def pictures(container: InputContainer) -> list[VideoStream]:
    """The streams that are pictures that move: not the cover of a record."""
    return [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]


def _check_picture(stream: AudioStream | VideoStream, caps: Limits) -> None:
    if isinstance(stream, VideoStream) and stream.codec_context.width * stream.codec_context.height > caps.pixels:
        found = f"{stream.codec_context.width} × {stream.codec_context.height}"
        message = f"has {found} pixels; at most {caps.pixels / 1e6:g} Mpx are allowed"
        raise PermanentError(Code.TOO_MANY_PIXELS, message)


def _first_frames(container: InputContainer, stream: AudioStream | VideoStream) -> list[AudioFrame | VideoFrame]:
    """A few decoded frames, fewer if the file has no more."""
    stream.codec_context.thread_count = 1
    frames: list[AudioFrame | VideoFrame] = []
    for tried, packet in enumerate(packets(container, stream)):
        with suppress(av.error.InvalidDataError):
            frames += stream.decode(packet)
        if len(frames) >= FIRST_FRAMES or tried >= TRIED_PACKETS:
            break
    return frames


def _size(frame: AudioFrame | VideoFrame) -> dict[str, int]:
    if not isinstance(frame, VideoFrame):
        return {}
    turned = frame.rotation % 180 != 0
    return {"width": frame.height, "height": frame.width} if turned else {"width": frame.width, "height": frame.height}


def packets(container: InputContainer, stream: AudioStream | VideoStream) -> Iterator[Any]:
    """Packets until the end of what is there: a file that is cut short plays up to the cut."""
    try:
        yield from container.demux(stream)
    except (av.error.InvalidDataError, av.error.EOFError):
        return


def _undecodable(path: str, name: str) -> PermanentError:
    if name == "wav" and _wav_is_silent(path):
        return PermanentError(Code.EMPTY, "holds not one sample")
    return broken("not one frame can be decoded")


def _wav_is_silent(path: str) -> bool:
    """Whether there is a data chunk, and nothing in it."""
    with Path(path).open("rb") as file:
        head = file.read(65536)
    start = head.find(b"data")
    return start >= 0 and len(head) <= start + 8


def duration_ms(container: InputContainer, stream: AudioStream | VideoStream, *, counted: bool = False) -> int:
    """What the container says, or with `counted`, or if it says nothing, the end of the last packet."""
    if container.duration and container.duration > 0 and not counted:
        return int(container.duration // 1000)  # microseconds
    container.seek(0)
    end = 0
    for packet in packets(container, stream):
        if packet.pts is not None and packet.time_base:
            end = max(end, int((packet.pts + (packet.duration or 0)) * packet.time_base * 1000))
    return end
