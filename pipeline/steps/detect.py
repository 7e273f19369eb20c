"""The step detect: the type of the content, the kind of the attachment, and where the declaration differs."""

from __future__ import annotations

import mimetypes
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from pipeline.config.settings import Settings
from pipeline.errors import Code, PermanentError, PipelineError, StagingLostError, or_raise
from pipeline.media_types import MEDIA_TYPES, OFFICE_TYPES, OOXML_TYPES, MediaType
from pipeline.media_types.answers import ENCRYPTED_OOXML, CheckAnswer, Identified, parse_identified
from pipeline.media_types.limits import Rules, rules_from
from pipeline.models import Attachment, Checked, Detected, Facts, Fault, Fetched, Kind
from pipeline.sandbox import Call, InvalidAnswerError, Reason, Refusal, Sandbox, StillRunning

__all__ = ["StagedFile", "StillRunning", "detect", "detect_many"]

EXAMINE = "pipeline.media_types.examine:examine"
IDENTIFY = "pipeline.media_types.sniff:identify"
# Declared mime types that say nothing about the content, so that they never count as a mismatch.
UNSPECIFIC_MIMES = frozenset({"application/octet-stream", "binary/octet-stream", "application/x-download", "*/*"})
# What a document that is declared as a type before OOXML is if it is encrypted as OOXML: Office opens it all the same.
_OOXML_OF = {"doc": "docx", "xls": "xlsx", "ppt": "pptx"}
# The standard library's own table: the result must not depend on the mime.types files of this machine.
_mime_table = mimetypes.MimeTypes()


def _names_by(aliases: Callable[[MediaType], Iterable[str]]) -> dict[str | None, list[str]]:
    """Names of the media types by each of their aliases, in the order of the table."""
    names: dict[str | None, list[str]] = {}
    for media_type in MEDIA_TYPES.values():
        for alias in aliases(media_type):
            names.setdefault(alias, []).append(media_type.name)
    return names


_NAMES_BY_MIME = _names_by(lambda media_type: media_type.mimes)
_NAMES_BY_EXT = _names_by(lambda media_type: media_type.exts)


class StagedFile(NamedTuple):
    """One file to detect: the attachment that declares it, and the absolute path of its bytes."""

    attachment: Attachment
    fetched: Fetched
    path: str


def detect(attachment: Attachment, fetched: Fetched, *, path: Path, sandbox: Sandbox, settings: Settings) -> Detected:
    """Detects one staged file. One call to the sandbox, two if the check of the type failed in the child.

    Raises:
        PermanentError: `empty`, `type_not_allowed`, `type_mismatch`, `broken` or `expands_too_far` (an archive declared
            as an Office document), and what `Sandbox.call` raises.
    """
    file = StagedFile(attachment, fetched, str(path.absolute()))
    return or_raise(detect_many([file], sandbox=sandbox, settings=settings)[0])


def detect_many(files: Sequence[StagedFile], *, sandbox: Sandbox, settings: Settings) -> list[Detected | PipelineError]:
    """Detects several files in one exchange with the sandbox: for each its result or the error that `detect` raises.

    Of several files, one that takes long and those behind it may come back as StillRunning. Call again for them, best
    for each alone: a single file is waited for, and no work is done twice.
    """
    rules = rules_from(settings)
    # Small files first: they rarely take long.
    order = sorted((n for n, file in enumerate(files) if file.fetched.size), key=lambda n: files[n].fetched.size)
    answers = sandbox.call_many([_call(files[n]) for n in order], limits=rules.limits_json)
    results: list[Detected | PipelineError] = [PermanentError(Code.EMPTY, "the file is empty")] * len(files)
    for n, answer in zip(order, answers, strict=True):
        results[n] = _result(files[n], answer, sandbox=sandbox, rules=rules)
    return results


def _call(file: StagedFile) -> Call:
    arguments = {"kind": file.attachment.kind, "size": file.fetched.size}
    return Call(EXAMINE, arguments, content_id=file.fetched.sha256, file=file.path)


def _result(file: StagedFile, answer: Any, *, sandbox: Sandbox, rules: Rules) -> Detected | PipelineError:
    try:
        if isinstance(answer, PipelineError) and not isinstance(answer, StillRunning | StagingLostError):
            # The check may have caused this error. If identification alone succeeds, validate repeats the check.
            answer = sandbox.call(IDENTIFY, file=file.path, limits=rules.limits_json)
        if isinstance(answer, PipelineError):
            return answer
        return _detected(file, parse_identified(answer), rules)
    except InvalidAnswerError as error:
        sandbox.distrust()
        return error
    except PipelineError as error:
        return error


def _detected(file: StagedFile, content: Identified, rules: Rules) -> Detected:
    """The result for what the sandbox has found. Opens no file.

    The content decides the type. The kind is the declared kind if such content may have it, else the natural kind of
    the type: a photo sent as a document stays a document, a PDF sent as an image becomes a document. A file with a
    video stream is never a voice note, and one with audio alone never a video.

    Raises:
        PermanentError: `type_not_allowed`, `type_mismatch`, `broken`, `expands_too_far`.
    """
    attachment = file.attachment
    declared_types = _declared_types(attachment)
    media_type = MEDIA_TYPES.get(_resolved_name(content.name, declared_types) or "")
    if media_type is None or media_type.name not in rules.limits.checks:
        raise _type_error(media_type, content, declared_types, rules)
    kind = media_type.kind_for(attachment.kind, sound_only=content.sound_only)
    mismatch = _mismatch(attachment, media_type, kind)
    if mismatch and rules.reject_mismatch:
        raise PermanentError(Code.TYPE_MISMATCH, f"{mismatch}; MISMATCH=correct accepts it as what it is")
    return Detected(
        fetched=file.fetched,
        kind=kind,
        mime=media_type.mime,
        ext=media_type.ext,
        mismatch=mismatch,
        checked=_checked(content.checked, media_type, kind, rules),
    )


def _checked(answer: CheckAnswer | None, media_type: MediaType, kind: Kind, rules: Rules) -> Checked | None:
    """The result of the check, if it was made for this type and kind; else None, because a child may be compromised."""
    if answer is None or (answer.name, answer.kind) != (media_type.name, kind):
        return None
    if answer.fault is not None:
        fault = Fault(code=answer.fault.code, message=answer.fault.message)
        return Checked(limits=rules.limits_hash, fault=fault)
    try:
        return Checked(limits=rules.limits_hash, facts=Facts.model_validate(answer.facts))
    except ValidationError:
        return None


def _declared_types(attachment: Attachment) -> list[str]:
    """Names of the types that the declaration may mean: by its mime type first, then by its file name."""
    by_mime = _NAMES_BY_MIME.get(attachment.media_type, [])
    by_ext = _NAMES_BY_EXT.get(_extension(attachment), []) if attachment.filename else []
    return [*by_mime, *(name for name in by_ext if name not in by_mime)]


def _extension(attachment: Attachment) -> str | None:
    """Extension of the declared file name, if it is a known one."""
    ext = attachment.filename.rpartition(".")[2].lower() if attachment.filename else ""
    if not ext or "." not in (attachment.filename or ""):
        return None
    known = ext in _NAMES_BY_EXT or f".{ext}" in _mime_table.types_map[True]
    return ext if known else None


def _resolved_name(name: str | None, declared_types: list[str]) -> str | None:
    """The type. The declaration decides where the content cannot: between encrypted OOXML types, and text and CSV."""
    if name == ENCRYPTED_OOXML:
        ooxml = [_OOXML_OF.get(declared, declared) for declared in declared_types]
        return next((declared for declared in ooxml if declared in OOXML_TYPES), None)
    if name in {"text", "csv"}:
        return next((declared for declared in declared_types if declared in {"text", "csv"}), name)
    return name


def _type_error(
    media_type: MediaType | None, content: Identified, declared_types: list[str], rules: Rules
) -> PermanentError:
    """The error for content of no allowed type. It names the setting that would allow the type, if there is one.

    A file that cannot be read has its own error if it is declared as a document of Office, or is of an allowed type by
    its declaration or by libmagic.
    """
    if media_type is None and content.name == ENCRYPTED_OOXML:
        return _encrypted_error(declared_types, rules)
    mime = media_type.mime if media_type else content.mime
    office = next((name for name in declared_types if name in OFFICE_TYPES), None)
    allowed = rules.limits.checks.keys()
    expected = not allowed.isdisjoint(declared_types) or any(mime == MEDIA_TYPES[name].mime for name in allowed)
    if content.fault and (office or expected):
        return content.fault
    if media_type is None and mime in _NAMES_BY_MIME:
        return _likeness_error(content, declared_types)
    remedy = f"; add {media_type.name} to ALLOWED_TYPES to accept it" if media_type else ""
    if office and (media_type is None or media_type.name not in declared_types):
        return PermanentError(Code.TYPE_MISMATCH, f"declared as {office}, but is {mime}{remedy}")
    return PermanentError(Code.TYPE_NOT_ALLOWED, f"{mime} is not accepted{remedy}")


def _likeness_error(content: Identified, declared_types: list[str]) -> PermanentError:
    """The error for content that libmagic takes for a type of the table, but that is not built as this type is."""
    but = "has another structure" if content.fault is None else content.fault.message
    message = f"looks like {content.mime}, but {but}"
    office = next((name for name in declared_types if name in OFFICE_TYPES), None)
    if office is None:
        return PermanentError(Code.TYPE_NOT_ALLOWED, message)
    return PermanentError(Code.TYPE_MISMATCH, f"declared as {office}; it {message}")


def _encrypted_error(declared_types: list[str], rules: Rules) -> PermanentError:
    """The error for an encrypted OOXML document whose declaration does not tell its type."""
    if rules.limits.refuse_active:
        return Refusal(Reason.ACTIVE_CONTENT, flags="encrypted")
    office = next((name for name in declared_types if name in OFFICE_TYPES), None)
    if office is None:
        message = "is an encrypted Office document, and neither its name nor its mime type says of which type"
        return PermanentError(Code.TYPE_NOT_ALLOWED, message)
    return PermanentError(Code.TYPE_MISMATCH, f"declared as {office}, but is an encrypted Office document")


def _mismatch(attachment: Attachment, media_type: MediaType, kind: Kind) -> str | None:
    """The differences between declaration and content, as text; None if there are none."""
    mime, ext = attachment.media_type, _extension(attachment)
    differences = []
    if mime and mime not in media_type.mimes and mime not in UNSPECIFIC_MIMES:
        differences.append(f"declared {mime}, is {media_type.mime}")
    if ext and ext not in media_type.exts:
        differences.append(f"named .{ext}, is .{media_type.ext}")
    if attachment.kind and attachment.kind != kind:
        differences.append(f"sent as {attachment.kind}, is {kind}")
    return "; ".join(differences) or None
