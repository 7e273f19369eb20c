"""The end record of a zip archive, and what may follow it. Layout: APPNOTE.TXT 6.3.10, 4.3.16."""

from __future__ import annotations

import struct
from typing import NamedTuple

from pipeline.sandbox import Reason, Refusal

END_RECORD = b"PK\x05\x06"
END_SIZE = 22
MAX_COMMENT = 0xFFFF
TAIL_BYTES = END_SIZE + MAX_COMMENT  # the end record and all that follows it fit into this many bytes
MARK = b"PK"  # starts each record of an archive
BLANK = b"\0\t\n\v\f\r \x1a"
MAX_TRAILING = 128  # bytes other than blanks that may follow the end record, such as the last line of a multipart body


class EndRecord(NamedTuple):
    """Where the directory is: its `offset` in the file and its `size` in bytes. `entries` is their declared number."""

    entries: int
    size: int
    offset: int

    @property
    def is_zip64(self) -> bool:
        """Whether the real values are in the zip64 records, between the directory and this record."""
        return self.entries == 0xFFFF or 0xFFFFFFFF in (self.size, self.offset)


def end_record(tail: bytes, *, start: int) -> EndRecord:
    """The only end record of the archive. `tail` holds its last bytes, from the offset `start` on.

    Readers search for the record from the end of the file, so the last one counts. Blanks may follow it, or a few other
    bytes that hold no record: senders that write an archive into a response leave such bytes.

    Raises:
        PermanentError: `broken`: there is none or more than one, or other bytes are before or behind it.
    """
    at = tail.rfind(END_RECORD)
    if at < 0 or at + END_SIZE > len(tail):
        raise Refusal(Reason.ZIP_NO_END)
    end = at + END_SIZE + _uint16(tail, at + 20)
    if end > len(tail):
        raise Refusal(Reason.ZIP_NO_END)
    if not _may_follow(tail[end:]):
        raise Refusal(Reason.ZIP_FOREIGN_BYTES)
    if any(_competes(tail, other, start=start, end=end) for other in _earlier_records(tail, at)):
        raise Refusal(Reason.ZIP_TWO_ENDS)
    record = _record(tail, at)
    if not record.is_zip64 and record.offset + record.size != start + at:
        raise Refusal(Reason.ZIP_FOREIGN_BYTES)
    return record


def _may_follow(trailing: bytes) -> bool:
    return not trailing.strip(BLANK) or (len(trailing) <= MAX_TRAILING and MARK not in trailing)


def _earlier_records(tail: bytes, at: int) -> list[int]:
    places = []
    other = tail.find(END_RECORD, 0, at)
    while other >= 0:
        places.append(other)
        other = tail.find(END_RECORD, other + 1, at)
    return places


def _competes(tail: bytes, at: int, *, start: int, end: int) -> bool:
    """Whether a reader could take this record for the end record: its comment ends the archive, or it fits in place."""
    if at + END_SIZE > len(tail):
        return False
    record = _record(tail, at)
    return at + END_SIZE + _uint16(tail, at + 20) in (end, len(tail)) or record.offset + record.size == start + at


def _record(tail: bytes, at: int) -> EndRecord:
    return EndRecord(*struct.unpack_from("<HII", tail, at + 10))


def _uint16(text: bytes, at: int) -> int:
    return int.from_bytes(text[at : at + 2], "little")
