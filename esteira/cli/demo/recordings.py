"""Sounds and videos for the demo, encoded by PyAV's FFmpeg."""

from __future__ import annotations

import io
import math
import random
from array import array
from collections.abc import Iterator

import av

from esteira.cli.demo.pictures import picture

SECONDS = 1.0
FRAME_SAMPLES = 960
FRAMES, RATE = 12, 12
WIDTH, HEIGHT = 352, 288  # CIF: H.263 allows only a few sizes, of which this is one


def tone(*, rate: int, channels: int) -> Iterator[av.AudioFrame]:
    """A tone of one second at a random pitch, as interleaved 16-bit samples."""
    pitch = random.uniform(220, 880)  # noqa: S311
    for begin in range(0, int(rate * SECONDS), FRAME_SAMPLES):
        samples = array("h")
        for n in range(begin, begin + FRAME_SAMPLES):
            samples.extend([int(9000 * math.sin(2 * math.pi * pitch * n / rate))] * channels)
        frame = av.AudioFrame(format="s16", layout="stereo" if channels == 2 else "mono", samples=FRAME_SAMPLES)
        frame.planes[0].update(samples.tobytes())
        frame.sample_rate, frame.pts = rate, begin
        yield frame


def sound(container: str, codec: str, *, rate: int = 48_000, channels: int = 1, **options: str) -> bytes:
    """One second of sound in this container."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate, options=options)
        assert isinstance(stream, av.AudioStream)
        stream.layout = "stereo" if channels == 2 else "mono"
        for frame in tone(rate=rate, channels=channels):
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return buffer.getvalue()


def video(container: str, codec: str) -> bytes:
    """One second of video in this container."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        stream = output.add_stream(codec, rate=RATE)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for _ in range(FRAMES):
            frame = av.VideoFrame.from_image(picture((WIDTH, HEIGHT)))  # type: ignore[no-untyped-call]
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return buffer.getvalue()
