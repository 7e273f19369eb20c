"""The preview of a video or a sound: the first frame that tells something, else the waveform."""

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

from pipeline.errors import Code, PermanentError
from pipeline.media_types.audio_video import DEMUXERS, FAULTS, duration_ms, moving_pictures, open_media, packets
from pipeline.media_types.limits import parse_limits
from pipeline.media_types.previews.thumbnail import as_webp, fitting
from pipeline.media_types.previews.waveform import peaks
from pipeline.media_types.rejections import broken, decoding

EARLY_S = (1.0, 3.0)  # where a picture has often faded in
PARTS = (0.1, 0.25, 0.5)  # of the whole
TELLING = 12.0  # standard deviation of the lightness, of 255: black, white and their noise stay below
TRIED_FRAMES = 300  # from the key frame before a place
BUDGET_S = 3.0  # of CPU, for all places together; one frame is always decoded
TURNS = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_270}


def render(path: str, *, name: str, limits: str) -> dict[str, Any]:
    """A frame as it is shown, or a hundred peaks where there is sound alone.

    Raises:
        PermanentError: `too_many_pixels`, `broken`.
    """
    with decoding(name, *FAULTS), open_media(path, DEMUXERS[name]) as container:
        shown = moving_pictures(container)
        if shown:
            return as_webp(_telling(container, shown[0], most=parse_limits(limits).pixels))
        sounds = list(container.streams.audio)
        if not sounds or sounds[0].codec_context is None:
            raise broken("holds no picture and no sound")
        return {"peaks": peaks(container, sounds[0], counted_s=duration_ms(container, sounds[0]) / 1000)}


def _telling(container: InputContainer, stream: VideoStream, *, most: int) -> Image.Image:
    """The first picture that is not all black, all white or all grey; of such ones the least so."""
    if stream.codec_context is None:
        raise broken("is coded in a way that no player knows")
    stream.codec_context.thread_count = 1
    best: tuple[float, Image.Image] | None = None
    until = time.process_time() + BUDGET_S
    for frame in _candidates(container, stream, until):
        if frame.width * frame.height > most:
            raise PermanentError(Code.TOO_MANY_PIXELS, f"has {frame.width} × {frame.height} pixels")
        image = _shown(frame, stream)
        spread = ImageStat.Stat(image.convert("L")).stddev[0]
        if best is None or spread > best[0]:
            best = spread, image
        if spread >= TELLING:
            break
    if best is None:
        raise broken("not one frame can be decoded")
    return best[1]


def _candidates(container: InputContainer, stream: VideoStream, until: float) -> Iterator[VideoFrame]:
    """The first frame, then those at some places further on, while there is time."""
    first = _frame(container, stream, 0.0, until + BUDGET_S)
    if first is not None:
        yield first
    length = duration_ms(container, stream) / 1000
    for place in sorted({*EARLY_S, *(part * length for part in PARTS)}):
        if place >= length or time.process_time() > until:
            continue
        with suppress(av.FFmpegError):  # not every file can be entered in its midst
            container.seek(int(place * 1_000_000), backward=True)
            frame = _frame(container, stream, place, until)
            if frame is not None:
                yield frame


def _frame(container: InputContainer, stream: VideoStream, place: float, until: float) -> VideoFrame | None:
    """The first frame from this second on, as far as time allows; else the last one before."""
    last = None
    start = float((stream.start_time or 0) * (stream.time_base or 0))
    for tried, packet in enumerate(packets(container, stream)):
        with suppress(av.error.InvalidDataError):
            for frame in stream.decode(packet):
                last = frame
                if frame.time is None or frame.time - start >= place:
                    return frame
        if tried >= TRIED_FRAMES or time.process_time() > until:
            break
    return last


def _shown(frame: VideoFrame, stream: VideoStream) -> Image.Image:
    """Fitting, in the shape of its pixels, and turned as its metadata says."""
    ratio = stream.sample_aspect_ratio
    shape = float(ratio) if ratio and 0.1 < ratio < 10 else 1.0
    width, height = fitting(frame.width * shape, frame.height)
    small = frame.reformat(width=width, height=height, format="rgb24", interpolation="AREA")
    image: Image.Image = small.to_image()  # type: ignore[no-untyped-call]
    turn = TURNS.get(round(frame.rotation) % 360)
    return image if turn is None else image.transpose(turn)
