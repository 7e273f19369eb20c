"""Check of plain zip archives, which are stored and never unpacked. Runs in the sandbox."""

from __future__ import annotations

from typing import Any

from pipeline.media_types.archives.zip_archive import open_archive
from pipeline.media_types.archives.zip_entries import ENCRYPTED
from pipeline.media_types.limits import parse_limits
from pipeline.media_types.rejections import check_active
from pipeline.sandbox import Reason, Refusal


def inspect(file: int, *, limits: str, **_: Any) -> dict[str, Any]:
    """The flag "encrypted" of an archive with encrypted entries. Its directory is compared with the entries' headers.

    Nothing is unpacked: entries may be compressed with any method, and their bytes are not looked at.

    Raises:
        PermanentError: `empty`, `expands_too_far` (by the sizes in the directory), `type_not_allowed` (entry names that
            lead out of the archive), `active_content`, `broken`.
    """
    caps = parse_limits(limits)
    with open_archive(file, expansion=caps.expansion, entries=caps.entries, is_unpacked=False) as archive:
        if not archive.entries:
            raise Refusal(Reason.ZIP_EMPTY)
        archive.check_entries()
        flags = ("encrypted",) if any(entry.flag_bits & ENCRYPTED for entry in archive.entries) else ()
    check_active(flags, refuse=caps.refuse_active)
    return {"flags": list(flags)}
