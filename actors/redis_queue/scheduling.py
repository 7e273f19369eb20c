"""What decides when a message is fetched: its session, its size and when its source expires."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from pipeline.config.limits import MB
from pipeline.config.settings import Settings
from pipeline.models import Attachment, Kind, Record

HISTORY_MARK = 1  # in place of the expiry in scheduling info; older versions take it for a source that expired long ago
FILE_CHARGE = 1000  # what a small file of a session of weight 1 counts while it is in flight
BYTES_PER_FILE = 16 * MB  # a file counts as one more for each of these
MAX_FILES = 16  # the most that one file counts as; without it the session of a huge file would wait until it is done


# Pictures and sounds are large far too rarely to keep the undeclared ones waiting among the large files, and their size
# limits end their downloads soon.
USUALLY_SMALL = frozenset({Kind.IMAGE, Kind.STICKER, Kind.AUDIO, Kind.PTT})
SMALL_TYPES = ("image/", "audio/")


class SchedulingInfo(NamedTuple):
    """The scheduling of one message.

    `size` is the size in bytes as far as it is known; None for a file to download that may have any size. `expires_at`
    is Unix ms. A message `of_history` goes last: after all others that wait, also of other sessions, whenever it
    expires.
    """

    session: str = ""
    size: int | None = 0
    expires_at: int | None = None
    of_history: bool = False


def scheduling_of(attachment: Attachment, *, intake: bool = False) -> SchedulingInfo:
    """The scheduling of a new attachment; with `intake` its bytes came along, and do not expire."""
    expiry = None if intake else attachment.expiry
    known = intake or bool(attachment.data)  # the bytes came along
    small = (
        attachment.kind in USUALLY_SMALL if attachment.kind else (attachment.media_type or "").startswith(SMALL_TYPES)
    )
    size = attachment.size or 0 if known or small else attachment.size
    expires_at = expiry * 1000 if expiry is not None else None
    return SchedulingInfo(attachment.session, size, expires_at, attachment.from_history)


def scheduling_of_record(record: Record) -> SchedulingInfo:
    """The scheduling of an attachment in the catalogue."""
    size = record.size or 0 if record.kind in USUALLY_SMALL else record.size
    return SchedulingInfo(record.session, size, record.expires_at, record.from_history)


@dataclass(frozen=True)
class SizeClasses:
    """The boundary of large files, the share of threads that may work on them, and the weights of sessions.

    `large_share` is a fraction of 1. Sessions that `weights` does not name have the weight 1. `per_session` is how many
    downloads of one session all workers together have in flight; None leaves a quarter of each process to others.
    """

    large_bytes: float = 16 * MB
    large_share: float = 0.25
    weights: Mapping[str, float] = field(default_factory=dict)
    per_session: int | None = None

    @classmethod
    def of(cls, settings: Settings) -> SizeClasses:
        return cls(
            settings.large_file_mb * MB, settings.large_file_share, settings.session_weights, settings.fetch_per_session
        )

    def encode(self, scheduling: SchedulingInfo) -> str:
        """The scheduling info as scheduling.lua reads it."""
        session = scheduling.session.replace("\0", "\ufffd")
        size = self.large_bytes + 1 if scheduling.size is None else scheduling.size
        files = min(1 + size / BYTES_PER_FILE, MAX_FILES)
        charge = max(1, round(FILE_CHARGE * files / self.weights.get(session, 1)))
        expires_at = HISTORY_MARK if scheduling.of_history else scheduling.expires_at or 0
        return f"{charge},{int(size > self.large_bytes)},{expires_at},{session}"

    def large_threads(self, threads: int) -> int:
        """How many threads may work on large files: at least one, and all but one at most."""
        return max(1, min(int(threads * self.large_share), threads - 1))
