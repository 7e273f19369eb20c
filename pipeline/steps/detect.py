"""The step detect: what the content is, which kind of attachment that makes it, and where the declaration differs."""

from __future__ import annotations

import mimetypes
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from pipeline.config.settings import Settings
from pipeline.errors import Code, PermanentError, PipelineError, StagingLostError, or_raise
from pipeline.media_types import MEDIA_TYPES, OFFICE_TYPES, OOXML_TYPES, MediaType
from pipeline.media_types.limits import Rules, rules_from
from pipeline.models import Attachment, Checked, Detected, Fetched, Kind
from pipeline.sandbox import Call, Sandbox, StillRunning

__all__ = ["StagedFile", "StillRunning", "detect", "detect_many", "judge"]

EXAMINE = "pipeline.media_types.examine:examine"
IDENTIFY = "pipeline.media_types.sniff:identify"
MAX_MESSAGE = 500
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


class StagedFile(NamedTuple):
    """One staged file: the attachment that declares it, and the absolute path of its bytes."""

    attachment: Attachment
    fetched: Fetched
    path: str


def detect(attachment: Attachment, fetched: Fetched, *, path: Path, sandbox: Sandbox, settings: Settings) -> Detected:
    """What the staged file at `path` is. One call in the sandbox, two for a file that is too much for its check.

    Raises:
        PermanentError: `empty`, `type_not_allowed`, `type_mismatch`, `broken` or `expands_too_far` (an archive declared
            as an Office document), and what `Sandbox.call` raises.
    """
    asked = StagedFile(attachment, fetched, str(path.absolute()))
    return or_raise(detect_many([asked], sandbox=sandbox, settings=settings)[0])


def detect_many(items: Sequence[StagedFile], *, sandbox: Sandbox, settings: Settings) -> list[Detected | PipelineError]:
    """What each of these files is, or the error that `detect` raises; one call in the sandbox for all of them.

    Of several files some may come back as `StillOut`: one that takes long, and those behind it. They are to be asked
    for again, best each alone; one file alone is awaited to its end, and nothing is decoded twice.
    """
    rules = rules_from(settings)
    # Small ones first: they are rarely those that take long.
    order = sorted((n for n, item in enumerate(items) if item.fetched.size), key=lambda n: items[n].fetched.size)
    answers = sandbox.call_many([_call(items[n]) for n in order], limits=rules.text)
    found: list[Detected | PipelineError] = [PermanentError(Code.EMPTY, "holds not one byte")] * len(items)
    for n, answer in zip(order, answers, strict=True):
        found[n] = _verdict(items[n], answer, sandbox=sandbox, rules=rules)
    return found


def _call(item: StagedFile) -> Call:
    declared = {"path": item.path, "kind": item.attachment.kind, "size": item.fetched.size}
    return Call(EXAMINE, declared, mark=item.fetched.sha256)


def _verdict(item: StagedFile, answer: Any, *, sandbox: Sandbox, rules: Rules) -> Detected | PipelineError:
    try:
        if isinstance(answer, PipelineError) and not isinstance(answer, StillRunning | StagingLostError):
            # What kept it from its end may have been the check. That is for validate to find out.
            answer = sandbox.call(IDENTIFY, path=item.path, limits=rules.text)
        if isinstance(answer, PipelineError):
            return answer
        return _judged(item.attachment, item.fetched, answer, rules)
    except PipelineError as error:
        return error


def judge(attachment: Attachment, fetched: Fetched, content: dict[str, Any], settings: Settings) -> Detected:
    """The verdict on what `pipeline.media_types.examine:examine` has found. Opens nothing.

    The content decides the type. The kind is the declared one where such content may be of that kind, else the
    natural one of the type: a photo sent as a document stays a document, a PDF sent as an image becomes one. What holds
    a picture that moves is video and no voice note, and sound alone no video, whatever container it came in.

    Raises:
        PermanentError: `type_not_allowed`, `type_mismatch`, `broken`, `expands_too_far`.
    """
    return _judged(attachment, fetched, content, rules_from(settings))


def _judged(attachment: Attachment, fetched: Fetched, content: dict[str, Any], rules: Rules) -> Detected:
    claims = _claims(attachment)
    row = MEDIA_TYPES.get(_name(content["name"], claims) or "")
    if row is None or row.name not in rules.limits.checks:
        raise _refusal(row, content, claims)
    kind = row.kind_for(attachment.kind, sound_only=content["sound_only"])
    mismatch = _mismatch(attachment, row, kind)
    if mismatch and rules.reject_mismatch:
        raise PermanentError(Code.TYPE_MISMATCH, mismatch)
    checked = _checked(content.get("checked"), row, kind, rules)
    return Detected(fetched=fetched, kind=kind, mime=row.mime, ext=row.ext, mismatch=mismatch, checked=checked)


def _checked(said: Any, row: MediaType, kind: Kind, rules: Rules) -> Checked | None:
    """What a check found, if it was made for just this type and kind; the child may lie, or have judged otherwise."""
    if not isinstance(said, dict) or (said.get("name"), said.get("kind")) != (row.name, kind):
        return None
    try:
        checked = Checked.model_validate({**said, "limits": rules.mark})
    except ValidationError:
        return None
    whole = (checked.facts is None) != (checked.fault is None)
    return checked if whole and len(checked.fault.message if checked.fault else "") <= MAX_MESSAGE else None


def _claims(attachment: Attachment) -> list[str]:
    """The names of the types that the declaration may mean: by its mime type, then by its file name."""
    by_mime = _BY_MIME.get(attachment.media_type, [])
    by_ext = _BY_EXT.get(_extension(attachment), []) if attachment.filename else []
    return [*by_mime, *(name for name in by_ext if name not in by_mime)]


def _extension(attachment: Attachment) -> str | None:
    """The extension of the declared file name, if it is one that says anything."""
    ext = attachment.filename.rpartition(".")[2].lower() if attachment.filename else ""
    if not ext or "." not in (attachment.filename or ""):
        return None
    known = ext in _BY_EXT or f".{ext}" in _known_extensions.types_map[True]
    return ext if known else None


def _name(found: str | None, claims: list[str]) -> str | None:
    """The type, where the content leaves it open: what encryption hides, and whether text is CSV, is as declared."""
    if found == ENCRYPTED_OOXML:
        return next((name for name in claims if name in OOXML_TYPES), None)
    if found in {"text", "csv"}:
        return next((name for name in claims if name in {"text", "csv"}), found)
    return found


def _refusal(row: MediaType | None, content: dict[str, Any], claims: list[str]) -> PermanentError:
    """Why content of no allowed type is refused: what poses as an Office document is more than just not allowed."""
    office = [name for name in claims if name in OFFICE_TYPES]
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
