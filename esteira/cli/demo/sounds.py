"""Sounds and films for the demo, encoded by the FFmpeg inside PyAV."""

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
WIDTH, HEIGHT = 352, 288  # CIF: the only size of these that H.263 knows too


def tone(*, rate: int, channels: int) -> Iterator[av.AudioFrame]:
    """A tone of a second, as no other run makes it: interleaved 16-bit samples."""
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
    """A second of sound in this container."""
    out = io.BytesIO()
    with av.open(out, "w", format=container) as box:
        stream = box.add_stream(codec, rate=rate, options=options)
        assert isinstance(stream, av.AudioStream)
        stream.layout = "stereo" if channels == 2 else "mono"
        for frame in tone(rate=rate, channels=channels):
            box.mux(stream.encode(frame))
        box.mux(stream.encode(None))
    return out.getvalue()


def film(container: str, codec: str) -> bytes:
    """A second of moving picture in this container."""
    out = io.BytesIO()
    with av.open(out, "w", format=container) as box:
        stream = box.add_stream(codec, rate=RATE)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for _ in range(FRAMES):
            frame = av.VideoFrame.from_image(picture((WIDTH, HEIGHT)))  # type: ignore[no-untyped-call]
            box.mux(stream.encode(frame))
        box.mux(stream.encode(None))
    return out.getvalue()
