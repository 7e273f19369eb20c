"""The waveform of a sound as a hundred peaks."""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise

import av
import av.error
from av import AudioResampler, AudioStream
from av.container import InputContainer

from pipeline.media_types.audio_video import packets

NUMBER = 100
RATE = 8000  # samples a second are plenty for an outline, and quick to look at
WHOLE_S = 600.0  # what is longer is listened to here and there
SNATCH_S = 1.0
SILENCE = 100  # of 32768: a louder peak becomes 100, or whispered words would look like silence
BUDGET_S = 6.0  # of CPU: what was heard by then is shown


def peaks(container: InputContainer, stream: AudioStream, *, counted_s: float) -> list[int]:
    """A hundred numbers from 0 to 100, of which the loudest is 100 unless all is silent.

    `counted_s` is how long the sound is, in seconds.
    """
    stream.codec_context.thread_count = 1
    until = time.process_time() + BUDGET_S
    if counted_s <= WHOLE_S:
        container.seek(0)
        return _scaled(_outline(_samples(container, stream, WHOLE_S, until)))
    return _scaled([max(_outline(each), default=0) for each in _snatches(container, stream, counted_s, until)])


def _snatches(container: InputContainer, stream: AudioStream, length_s: float, until: float) -> Iterator[array[int]]:
    """A second of each hundredth; nothing where it cannot be entered."""
    for part in range(NUMBER):
        found = array("h")
        with suppress(av.FFmpegError):
            container.seek(int(length_s * part / NUMBER * 1_000_000), backward=True)
            found = _samples(container, stream, SNATCH_S, until)
        yield found


def _samples(container: InputContainer, stream: AudioStream, seconds: float, until: float) -> array[int]:
    """What is heard from here on, for at most so long."""
    resampler = AudioResampler(format="s16", layout="mono", rate=RATE)
    heard = array("h")
    for packet in packets(container, stream):
        with suppress(av.error.InvalidDataError):
            for frame in stream.decode(packet):
                for part in resampler.resample(frame):
                    heard.frombytes(bytes(part.planes[0])[: part.samples * 2])
        if len(heard) >= seconds * RATE or time.process_time() > until:
            break
    return heard


def _outline(heard: array[int]) -> list[int]:
    """The loudest sample in each hundredth of this."""
    if not heard:
        return []
    bounds = [len(heard) * part // NUMBER for part in range(NUMBER + 1)]
    parts = (heard[start : max(stop, start + 1)] for start, stop in pairwise(bounds))
    return [max(map(abs, part)) for part in parts]


def _scaled(found: list[int]) -> list[int]:
    loudest = max(found, default=0)
    if loudest < SILENCE:
        return [0] * NUMBER
    return [round(100 * one / loudest) for one in found]
