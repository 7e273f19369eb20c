"""Worker entry point with a shifted clock: system time plus the offset, in seconds, from the file $CHAOS_CLOCK.

It replaces `time.time` and the only use of `datetime.now` in the product. `time.monotonic` stays as it is, as when the
clock of a machine is set.
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


def _offset_seconds() -> float:
    return float(struct.unpack_from("d", _offset)[0])


def _time() -> float:
    return _system() + _offset_seconds()


class _ShiftedDatetime(datetime.datetime):
    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> _ShiftedDatetime:
        return cls.fromtimestamp(_time(), tz)


time.time = _time

import pipeline.notifiers.webhooks  # noqa: E402  after the change above

pipeline.notifiers.webhooks.datetime = _ShiftedDatetime  # type: ignore[attr-defined]

from actors.stages import broker, detect, fetch, notify, persist, validate  # noqa: E402

__all__ = ["broker", "detect", "fetch", "notify", "persist", "validate"]
