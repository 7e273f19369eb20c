"""Pictures that Pillow cannot decode and FFmpeg can. Runs in the sandbox.

These are HEIC sequences, which have tracks like a movie and no still picture, AVIF whose alpha libavif refuses and
browsers show, and lossless JPEG with more than 8 bits a sample.
"""

from __future__ import annotations

import os
from typing import Any

from av import VideoFrame, VideoStream
from av.container import InputContainer
from av.stream import Disposition

from pipeline.media_types.limits import Limits
from pipeline.media_types.pictures import jpeg
from pipeline.media_types.pictures.picture_limits import check_frames, check_size
from pipeline.media_types.recordings import audio_video, boxes
from pipeline.media_types.rejections import decoding
from pipeline.sandbox import Reason, Refusal

FORMS = {"heic": "a HEIF image", "avif": "a AVIF image", "jpeg": "a JPEG image"}
SEQUENCE = b"pict"  # handler of the tracks of an image sequence
HEAD_BYTES = 65536  # of an AVIF, that are searched for a grid
GRID = b"grid"  # item of a picture that is put together from others, which FFmpeg gives one by one


def is_decodable(file: int, name: str) -> bool:
    """Whether FFmpeg is asked for a picture that Pillow refused."""
    if name == "jpeg":
        return jpeg.is_lossless(file)
    if name == "heic":
        return any(track.handler == SEQUENCE for track in boxes.tracks(file))
    return name == "avif" and GRID not in os.pread(file, HEAD_BYTES, 0)


def inspect(file: int, name: str, caps: Limits) -> dict[str, Any]:
    """Width and height as displayed, and whether the picture is animated. Every frame is decoded.

    Raises:
        PermanentError: `too_many_pixels`, `too_many_frames`, `broken`.
    """
    with decoding(FORMS[name], *audio_video.DECODE_ERRORS):
        if name == "jpeg":
            check_size(*jpeg.size(file), caps)
            return _facts(_required(jpeg.decoded(file)), frames=1)
        with audio_video.open_media(file, "mov") as media:
            main = main_stream(media)
            streams = [main] if name == "heic" else audio_video.moving_pictures(media)
            decoded = {stream.index: _decode(media, stream, caps) for stream in streams}
            first, frames = decoded[main.index]
            return _facts(first, frames=frames)


def first_frame(file: int, name: str) -> VideoFrame:
    """The first frame of a picture that `inspect` accepts.

    Raises:
        PermanentError: `broken`.
    """
    with decoding(FORMS[name], *audio_video.DECODE_ERRORS):
        if name == "jpeg":
            return _required(jpeg.decoded(file))
        with audio_video.open_media(file, "mov") as media:
            return _required(next(media.decode(main_stream(media)), None))


def main_stream(media: InputContainer) -> VideoStream:
    """The longest sequence; of several stills the primary one."""
    streams = audio_video.moving_pictures(media)
    if not streams:
        raise Refusal(Reason.NO_FRAME)
    return max(streams, key=lambda stream: (stream.frames, bool(stream.disposition & Disposition.default)))


def _decode(media: InputContainer, stream: VideoStream, caps: Limits) -> tuple[VideoFrame, int]:
    """The first frame, and how many there are. A sequence that is cut, and damaged data, are `broken`."""
    context = stream.codec_context
    if context is None:
        raise Refusal(Reason.UNKNOWN_CODEC)
    context.thread_count = 1
    check_size(context.width, context.height, caps)
    check_frames(stream.frames, (context.width, context.height), caps)
    first, frames, packets = None, 0, 0
    media.seek(0)
    for packet in media.demux(stream):
        if packet.is_corrupt:
            raise Refusal(Reason.NO_FRAME)
        packets += packet.size > 0
        for frame in stream.decode(packet):
            first, frames = first or frame, frames + 1
            check_size(frame.width, frame.height, caps)
            check_frames(frames, (frame.width, frame.height), caps)
    if packets < stream.frames:
        raise Refusal(Reason.NO_FRAME)
    return _required(first), frames


def _required(frame: VideoFrame | None) -> VideoFrame:
    if frame is None:
        raise Refusal(Reason.NO_FRAME)
    return frame


def _facts(frame: VideoFrame, *, frames: int) -> dict[str, Any]:
    return {**audio_video.display_size(frame), "animated": frames > 1}
