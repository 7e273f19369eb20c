"""Waveform of a sound: 100 peaks."""

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

from pipeline.media_types.recordings.audio_video import packets

PEAKS = 100
RATE = 8000  # samples a second that are kept; more cost time and change no peak visibly
WHOLE_S = 600.0  # a longer sound is sampled instead of decoded whole
SAMPLE_S = 1.0  # seconds decoded for each peak of a longer sound
SILENCE = 100  # of 32768; below it all peaks are 0. Not higher, so that a whisper does not look like silence
BUDGET_S = 6.0  # CPU seconds; the peaks cover what was decoded by then


def peaks(container: InputContainer, stream: AudioStream, *, duration_s: float) -> list[int]:
    """100 numbers from 0 to 100. The loudest is 100, unless the sound is silent."""
    stream.codec_context.thread_count = 1
    until = time.process_time() + BUDGET_S
    if duration_s <= WHOLE_S:
        container.seek(0)
        return _scaled(_outline(_samples(container, stream, WHOLE_S, until)))
    return _scaled([max(_outline(part), default=0) for part in _parts(container, stream, duration_s, until)])


def _parts(container: InputContainer, stream: AudioStream, duration_s: float, until: float) -> Iterator[array[int]]:
    """A second at the start of each hundredth; no samples where the file cannot be searched."""
    for part in range(PEAKS):
        samples = array("h")
        with suppress(av.FFmpegError):
            container.seek(int(duration_s * part / PEAKS * 1_000_000), backward=True)
            samples = _samples(container, stream, SAMPLE_S, until)
        yield samples


def _samples(container: InputContainer, stream: AudioStream, seconds: float, until: float) -> array[int]:
    """Samples from the current position on, as 16-bit mono at RATE, until the CPU time `until`."""
    resampler = AudioResampler(format="s16", layout="mono", rate=RATE)
    samples = array("h")
    for packet in packets(container, stream):
        with suppress(av.error.InvalidDataError):
            for frame in stream.decode(packet):
                for part in resampler.resample(frame):
                    samples.frombytes(bytes(part.planes[0])[: part.samples * 2])
        if len(samples) >= seconds * RATE or time.process_time() > until:
            break
    return samples


def _outline(samples: array[int]) -> list[int]:
    """The loudest sample of each hundredth; nothing without samples."""
    if not samples:
        return []
    bounds = [len(samples) * part // PEAKS for part in range(PEAKS + 1)]
    parts = (samples[start : max(stop, start + 1)] for start, stop in pairwise(bounds))
    return [max(map(abs, part)) for part in parts]


def _scaled(outline: list[int]) -> list[int]:
    loudest = max(outline, default=0)
    if loudest < SILENCE:
        return [0] * PEAKS
    return [round(100 * peak / loudest) for peak in outline]
