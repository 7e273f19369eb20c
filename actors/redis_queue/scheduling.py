"""Where a message belongs on the belt: whose it is, what it weighs, and until when its source gives it out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from pipeline.config.settings import MB, Settings
from pipeline.models import Attachment, Record

FILE = 1000  # what a small file of a session of weight 1 counts while it is in flight
BYTES_LIKE_A_FILE = 16 * MB  # so many bytes count as one file more
MOST_FILES = 16  # a huge file counts as so many, or its session would wait for as long as it takes


class SchedulingInfo(NamedTuple):
    """What decides when a message is served. `size` is declared, in bytes; `expires_at` is Unix ms."""

    session: str = ""
    size: int = 0
    expires_at: int | None = None


def scheduling_of(attachment: Attachment, *, intake: bool = False) -> SchedulingInfo:
    """The place of an attachment just handed over; with `intake` it came with its bytes, which do not expire."""
    expiry = None if intake else attachment.expiry
    return SchedulingInfo(attachment.session, attachment.size or 0, expiry * 1000 if expiry is not None else None)


def scheduling_of_record(record: Record) -> SchedulingInfo:
    """The place of an attachment as the catalogue knows it."""
    return SchedulingInfo(record.session, record.size or 0, record.expires_at)


@dataclass(frozen=True)
class SizeClasses:
    """Which files are large, how many of a process's threads may work on them, and what each session's turn is worth.

    `large_share` is a part of 1; a session that `weights` does not name has the weight 1.
    """

    large_bytes: float = 16 * MB
    large_share: float = 0.25
    weights: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Settings) -> SizeClasses:
        return cls(settings.large_file_mb * MB, settings.large_file_share, settings.session_weights)

    def text(self, place: SchedulingInfo) -> str:
        """The place as the scripts read it; see lanes.lua."""
        session = place.session.replace("\0", "\ufffd")
        files = min(1 + place.size / BYTES_LIKE_A_FILE, MOST_FILES)
        charge = max(1, round(FILE * files / self.weights.get(session, 1)))
        return f"{charge},{int(place.size > self.large_bytes)},{place.expires_at or 0},{session}"

    def large_threads(self, threads: int) -> int:
        """How many of so many threads may work on large files: at least one, and one is left where there are two."""
        return max(1, min(int(threads * self.large_share), threads - 1))
