"""Esteira's workers with a clock of ours: the machine's, and as many seconds beside it as a file says.

Replaced are `time.time` and the one place that asks `datetime` instead; `time.monotonic` goes on as it does when a
machine's clock is set.
"""

from __future__ import annotations

import datetime
import mmap
import os
import struct
import time

_file = os.open(os.environ["CHAOS_CLOCK"], os.O_RDWR | os.O_CREAT, 0o600)
os.truncate(_file, 8)  # a double; new bytes are zeros
_offset = mmap.mmap(_file, 8)
_system = time.time


def _beside_s() -> float:
    return float(struct.unpack_from("d", _offset)[0])


def _time() -> float:
    return _system() + _beside_s()


class _Moment(datetime.datetime):
    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> _Moment:
        return cls.fromtimestamp(_time(), tz)


time.time = _time

import pipeline.notifiers.webhooks  # noqa: E402  after the change above

pipeline.notifiers.webhooks.datetime = _Moment  # type: ignore[attr-defined]

from actors.stages import broker, detect, fetch, notify, persist, validate  # noqa: E402

__all__ = ["broker", "detect", "fetch", "notify", "persist", "validate"]
