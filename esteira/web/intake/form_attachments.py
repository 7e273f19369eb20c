"""The attachments in an upload: one for each file, with the form's fields."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from esteira.web.intake.uploads import UploadedFile, UploadedForm
from pipeline.config.settings import Settings
from pipeline.errors import PayloadError
from pipeline.gateways.intake import declared_session
from pipeline.models import Attachment, parse_attachment
from pipeline.values.emptiness import is_empty

SOURCES = ("url", "data", "direct_path")  # fields that name another source than the file
OF_ONE_FILE = ("part", "filename", "mimetype", "size", "file_sha256")  # fields that fit one of several files at most


class UploadedAttachment(NamedTuple):
    """An attachment, and the file with its bytes; None if its fields name another source."""

    attachment: Attachment
    file: Path | None


def form_attachments(form: UploadedForm, settings: Settings) -> list[UploadedAttachment]:
    """The attachments of a form. All are checked before the first is accepted.

    Several files are parts of one message, in their order. Without a message id, the id is a hash of fields and files,
    so that a repeated upload is the same message.

    Raises:
        PayloadError: names the field that is wrong or missing.
    """
    fields = {name: value for name, value in form.fields.items() if not is_empty(value)}
    fields["session"] = declared_session(fields.get("session"), "session", settings)
    fields.setdefault("message_id", _fingerprint(fields, form.files))
    if not form.files:
        if "file" in fields and not any(name in fields for name in SOURCES):
            raise PayloadError("file", "was sent as text, not as a file: curl needs an @, as in -F file=@photo.jpg")
        return [UploadedAttachment(parse_attachment(fields), None)]
    for name in (*SOURCES, *(OF_ONE_FILE if len(form.files) > 1 else ())):
        if name in fields:
            reason = "the body has the file itself" if name in SOURCES else "the body has several files"
            raise PayloadError(name, f"{reason}: leave the field out")
    return [_attachment(fields, file, part) for part, file in enumerate(form.files)]


def _attachment(fields: Mapping[str, str], file: UploadedFile, part: int) -> UploadedAttachment:
    of_file = {"part": part, "filename": file.filename, "mimetype": file.mimetype, "size": file.size}
    return UploadedAttachment(parse_attachment({**of_file, **fields}, has_file=True), file.path)


def _fingerprint(fields: Mapping[str, str], files: tuple[UploadedFile, ...]) -> str:
    parts = [dict(fields), [(file.filename, file.sha256) for file in files]]
    return "sha256:" + hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
