"""The step detect: what the content is, which kind of attachment that makes it, and where the declaration differs."""

from __future__ import annotations

import mimetypes
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from pipeline.errors import Code, PermanentError
from pipeline.media_types import MEDIA_TYPES, OFFICE, OOXML, MediaType, allowed_types
from pipeline.media_types.limits import limits_of
from pipeline.models import Attachment, Detected, Fetched, Kind
from pipeline.sandbox import Sandbox
from pipeline.settings import Settings

IDENTIFY = "pipeline.media_types.sniff:identify"
ENCRYPTED_OOXML = "encrypted-ooxml"
NO_CLAIM = frozenset({"application/octet-stream", "binary/octet-stream", "application/x-download", "*/*"})
# Only what the standard library knows by itself: the answer must not depend on the files of this machine.
_known_extensions = mimetypes.MimeTypes()


def _names(aliases: Callable[[MediaType], Iterable[str]]) -> dict[str | None, list[str]]:
    """The names of the types by each of their aliases, in the order of the table."""
    found: dict[str | None, list[str]] = {}
    for row in MEDIA_TYPES.values():
        for alias in aliases(row):
            found.setdefault(alias, []).append(row.name)
    return found


_BY_MIME = _names(lambda row: row.mimes)
_BY_EXT = _names(lambda row: row.exts)


def detect(attachment: Attachment, fetched: Fetched, *, path: Path, sandbox: Sandbox, settings: Settings) -> Detected:
    """What the staged file at `path` is. One call in the sandbox.

    Raises:
        PermanentError: `empty`, `type_not_allowed`, `type_mismatch`, `broken` or `expands_too_far` (an archive declared
            as an Office document), and what `Sandbox.call` raises.
    """
    if fetched.size == 0:
        raise PermanentError(Code.EMPTY, "holds not one byte")
    content = sandbox.call(IDENTIFY, path=str(path.absolute()), limits=limits_of(settings).to_json())
    return judge(attachment, fetched, content, settings)


def judge(attachment: Attachment, fetched: Fetched, content: dict[str, Any], settings: Settings) -> Detected:
    """The verdict on what `pipeline.media_types.sniff:identify` has found. Opens nothing.

    The content decides the type. The kind is the declared one where such content may be of that kind, else the
    natural one of the type: a photo sent as a document stays a document, a PDF sent as an image becomes one. What holds
    a picture that moves is video and no voice note, and sound alone no video, whatever container it came in.

    Raises:
        PermanentError: `type_not_allowed`, `type_mismatch`, `broken`, `expands_too_far`.
    """
    claims = _claims(attachment)
    row = MEDIA_TYPES.get(_name(content["name"], claims) or "")
    if row is None or row.name not in allowed_types(settings.allowed_types):
        raise _refusal(row, content, claims)
    kinds = _kinds(row, sound_only=content["sound_only"])
    kind = attachment.kind if attachment.kind in kinds else kinds[0]
    mismatch = _mismatch(attachment, row, kind)
    if mismatch and settings.mismatch == "reject":
        raise PermanentError(Code.TYPE_MISMATCH, mismatch)
    return Detected(fetched=fetched, kind=kind, mime=row.mime, ext=row.ext, mismatch=mismatch)


def _claims(attachment: Attachment) -> list[str]:
    """The names of the types that the declaration may mean: by its mime type, then by its file name."""
    by_mime = _BY_MIME.get(attachment.media_type, [])
    by_ext = _BY_EXT.get(_extension(attachment), [])
    return [*by_mime, *(name for name in by_ext if name not in by_mime)]


def _extension(attachment: Attachment) -> str | None:
    """The extension of the declared file name, if it is one that says anything."""
    ext = (attachment.filename or "").rpartition(".")[2].lower()
    if "." not in (attachment.filename or "") or not ext:
        return None
    known = ext in _BY_EXT or f".{ext}" in _known_extensions.types_map[True]
    return ext if known else None


def _name(found: str | None, claims: list[str]) -> str | None:
    """The type, where the content leaves it open: what encryption hides, and whether text is CSV, is as declared."""
    if found == ENCRYPTED_OOXML:
        return next((name for name in claims if name in OOXML), None)
    if found in {"text", "csv"}:
        return next((name for name in claims if name in {"text", "csv"}), found)
    return found


def _kinds(row: MediaType, *, sound_only: bool) -> list[Kind]:
    """The kinds that this content may be, the natural one first."""
    unfit = {Kind.VIDEO} if sound_only else {Kind.AUDIO, Kind.PTT}
    return [kind for kind in row.kinds if Kind.VIDEO not in row.kinds or kind not in unfit]


def _refusal(row: MediaType | None, content: dict[str, Any], claims: list[str]) -> PermanentError:
    """Why content of no allowed type is refused: what poses as an Office document is more than just not allowed."""
    office = [name for name in claims if name in OFFICE]
    what = row.mime if row else content["mime"]
    if row is not None and row.name in claims:
        message = f"{what} is not let in unless ALLOWED_TYPES names {row.name}"
        return PermanentError(Code.TYPE_NOT_ALLOWED, message)
    if office and content["fault"]:
        return PermanentError(Code(content["fault"]["code"]), content["fault"]["message"])
    if office:
        return PermanentError(Code.TYPE_MISMATCH, f"declared as {office[0]}, but is {what}")
    return PermanentError(Code.TYPE_NOT_ALLOWED, f"{what} is not let in")


def _mismatch(attachment: Attachment, row: MediaType, kind: Kind) -> str | None:
    """Where the declaration differs, in words; None if it agrees or says nothing."""
    declared, ext = attachment.media_type, _extension(attachment)
    found = []
    if declared and declared not in row.mimes and declared not in NO_CLAIM:
        found.append(f"declared {declared}, is {row.mime}")
    if ext and ext not in row.exts:
        found.append(f"named .{ext}, is .{row.ext}")
    if attachment.kind and attachment.kind != kind:
        found.append(f"sent as {attachment.kind}, is {kind}")
    return "; ".join(found) or None
