"""Preview of audio and video: the first meaningful frame of a video, the waveform of a sound."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import av
import av.error
from av import VideoFrame, VideoStream
from av.container import InputContainer
from PIL import Image, ImageStat

from pipeline.media_types.limits import parse_limits
from pipeline.media_types.previews.thumbnail import as_webp
from pipeline.media_types.previews.video_frame import as_displayed
from pipeline.media_types.previews.waveform import peaks
from pipeline.media_types.recordings.audio_video import (
    DECODE_ERRORS,
    DEMUXERS,
    NO_STREAM,
    duration_ms,
    is_encrypted,
    moving_pictures,
    open_media,
    packets,
)
from pipeline.media_types.rejections import decoding
from pipeline.sandbox import Reason, Refusal

EARLY_S = (1.0, 3.0)  # positions in seconds: many videos have faded in by then
FRACTIONS = (0.1, 0.25, 0.5)  # further positions, as fractions of the duration
# Standard deviation of the lightness (0 to 255) from which a frame counts as meaningful. Black, white and their noise
# stay below it.
MEANINGFUL = 12.0
TRIED_PACKETS = 300  # decoded from the key frame before a position; then the last frame is taken
BUDGET_S = 3.0  # CPU seconds for all positions together, and as much again for the first frame


def render(file: int, *, name: str, limits: str) -> dict[str, Any]:
    """A frame as it is displayed, or 100 peaks of a file without video; nothing for an encrypted file.

    Raises:
        PermanentError: `too_many_pixels`, `broken`.
    """
    if is_encrypted(file, name, None):
        return {}
    with decoding(name, *DECODE_ERRORS), open_media(file, DEMUXERS[name]) as container:
        if is_encrypted(file, name, container):
            return {}
        videos = moving_pictures(container)
        if videos:
            return as_webp(_meaningful_frame(container, videos[0], max_pixels=parse_limits(limits).pixels))
        sounds = list(container.streams.audio)
        if not sounds or sounds[0].codec_context is None:
            raise Refusal(Reason.NO_STREAM, missing=NO_STREAM)
        return {"peaks": peaks(container, sounds[0], duration_s=duration_ms(container, sounds[0]) / 1000)}


def _meaningful_frame(container: InputContainer, stream: VideoStream, *, max_pixels: int) -> Image.Image:
    """The first candidate that is not uniformly black, white or grey; else the candidate with the most contrast."""
    if stream.codec_context is None:
        raise Refusal(Reason.UNKNOWN_CODEC)
    stream.codec_context.thread_count = 1
    best: tuple[float, Image.Image] | None = None
    for frame in _candidates(container, stream, time.process_time() + BUDGET_S):
        if frame.width * frame.height > max_pixels:
            size = {"width": frame.width, "height": frame.height}
            raise Refusal(Reason.TOO_MANY_PIXELS, **size, allowed_mpx=max_pixels / 1e6)
        image = as_displayed(frame, stream.sample_aspect_ratio)
        contrast = ImageStat.Stat(image.convert("L")).stddev[0]
        if best is None or contrast > best[0]:
            best = contrast, image
        if contrast >= MEANINGFUL:
            break
    if best is None:
        raise Refusal(Reason.NO_FRAME)
    return best[1]


def _candidates(container: InputContainer, stream: VideoStream, until: float) -> Iterator[VideoFrame]:
    """The first frame, then frames at later positions until the CPU time `until`."""
    first = _frame_at(container, stream, 0.0, until + BUDGET_S)
    if first is not None:
        yield first
    length_s = duration_ms(container, stream) / 1000
    for position_s in sorted({*EARLY_S, *(fraction * length_s for fraction in FRACTIONS)}):
        if position_s >= length_s or time.process_time() > until:
            continue
        with suppress(av.FFmpegError):  # not every file can be searched
            container.seek(int(position_s * 1_000_000), backward=True)
            frame = _frame_at(container, stream, position_s, until)
            if frame is not None:
                yield frame


def _frame_at(container: InputContainer, stream: VideoStream, position_s: float, until: float) -> VideoFrame | None:
    """The first frame at or after this position; the last frame before it if the file or the CPU time ends."""
    last = None
    start_s = float((stream.start_time or 0) * (stream.time_base or 0))
    for tried, packet in enumerate(packets(container, stream)):
        with suppress(av.error.InvalidDataError):
            for frame in stream.decode(packet):
                last = frame
                if frame.time is None or frame.time - start_s >= position_s:
                    return frame
        if tried >= TRIED_PACKETS or time.process_time() > until:
            break
    return last
