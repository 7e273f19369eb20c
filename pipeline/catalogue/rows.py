"""Converts models to rows of plain values, which both drivers accept, and rows to models."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, TypeVar

from pipeline.history import AttemptLog, HistoryEntry, HistoryOutcome, failure_outcome, new_entry
from pipeline.models import Attachment, Claim, Failure, Kind, Model, Record, Stage, Status, Stored, StoredRecord
from pipeline.models.attachment import parse_stored_attachment
from pipeline.models.replacement_source import NewSource, with_new_source
from pipeline.models.source_fingerprint import source_mark
from pipeline.security.encryption import SourceCipher
from pipeline.values.gateway_values import clean_text

M = TypeVar("M", bound=Model)

_ID = re.compile(r"[0-9a-f]{32}")
_TOKEN = re.compile(r"[0-9a-f]{32}\.[0-9a-f]{16}")
_COLUMNS = tuple(Record.model_fields)
_STATUSES = {status.value: status for status in Status}
_STAGES = {stage.value: stage for stage in Stage}
_KINDS: dict[str | None, Kind | None] = {None: None, **{kind.value: kind for kind in Kind}}
_BOOLEANS = {None: None, False: False, True: True}  # SQLite returns 0 and 1
MAX_ERROR = 2000  # characters of an error message; the rest is cut off


def is_id(text: str) -> bool:
    """Whether the text has the form of an attachment's id. Other texts need no query; drivers reject some."""
    return _ID.fullmatch(text) is not None


def is_token(text: str) -> bool:
    """Whether the text has the form of a claim's token."""
    return _TOKEN.fullmatch(text) is not None


def accepted_row(attachment: Attachment, cipher: SourceCipher, *, intake: bool, now: int) -> dict[str, Any]:
    """The row of a new attachment, with its source encrypted."""
    kind = attachment.kind.value if attachment.kind else None
    return {
        "id": attachment.id,
        "gateway": attachment.gateway,
        "session": attachment.session,
        "message_id": attachment.message_id,
        "part": attachment.part,
        "chat": attachment.chat,
        "sender": attachment.sender,
        "chat_number": attachment.chat_number,
        "sender_number": attachment.sender_number,
        "status": Status.RECEIVED.value,
        "stage": Stage.FETCH.value,
        "attempts": 0,
        "run": 0,
        "kind": kind,
        "size": attachment.size,
        "declared_kind": kind,
        "declared_mime": attachment.mimetype,
        "filename": attachment.filename,
        "caption": attachment.caption,
        "expires_at": None if intake else _expires_at(attachment),
        "received_at": now,
        "intake": intake,
        "from_history": attachment.from_history,
        "payload": cipher.encrypt(payload(attachment)),
        "declared_sha256": _declared_sha256(attachment, intake=intake),
        "source_mark": None if intake else source_mark(attachment, key=cipher.mark_key),
    }


def _declared_sha256(attachment: Attachment, *, intake: bool) -> str | None:
    """The hash that finds other attachments with the same content. None if the bytes need not be fetched."""
    return None if intake or attachment.data else attachment.file_sha256


def _expires_at(attachment: Attachment) -> int | None:
    return attachment.expiry * 1000 if attachment.expiry is not None else None


def payload(attachment: Attachment) -> str:
    """The attachment as JSON for a replay, without the bytes, which are in storage."""
    return attachment.model_dump_json(exclude={"data"}, exclude_none=True)


def stored_row(stored: Stored) -> dict[str, Any]:
    """The columns that persist sets."""
    detected, facts = stored.validated.detected, stored.validated.facts
    return {
        **vars(facts),
        "kind": detected.kind.value,
        "mime": detected.mime,
        "ext": detected.ext,
        "size": detected.fetched.size,
        "sha256": detected.fetched.sha256,
        "name": stored.name,
        "storage_key": stored.storage_key,
        "flags": ",".join(facts.flags) or None,
        "mismatch": clean_text(detected.mismatch),
    }


def failed_row(failure: Failure) -> dict[str, Any]:
    """The columns that a failure sets."""
    return {
        "status": failure.status.value,
        "stage": failure.stage.value,
        "attempts": failure.attempts,
        "error_code": failure.code.value,
        "error": shortened(failure.message),
        "progress": json.dumps(failure.inputs) if failure.inputs is not None else None,
    }


def failure_entry(failure: Failure, *, run: int) -> HistoryEntry:
    """The history entry of a failure that no attempt has recorded."""
    outcome = failure_outcome(failure.status, failure.code)
    fields = {"run": run, "attempt": failure.attempts, "code": failure.code.value, "message": failure.message}
    return new_entry(failure.stage.value, outcome, **fields)


def reopened_row(
    last: Claim, cipher: SourceCipher, *, source: NewSource | None, intake: bool, now: int
) -> dict[str, Any]:
    """The columns that a replay sets. `last` is the finished row. With `intake` the new bytes are in storage."""
    record = last.record
    at_notify = record.stage is Stage.NOTIFY
    resume = source is None and record.status is Status.FAILED and not (at_notify and record.storage_key is None)
    announce = resume and at_notify
    attachment = with_new_source(last.attachment, source, intake=intake) if source else last.attachment
    in_storage = intake or (last.intake and not (source and source.has_location))
    stage = record.stage if resume else Stage.FETCH
    message = "with a new source" if source else None
    entry = new_entry(stage.value, HistoryOutcome.REPLAYED, run=record.run + 1, message=message)
    return {
        "status": (Status.STORED if announce else Status.RECEIVED).value,
        "stage": stage.value,
        "ended_at": now if announce else None,
        "size": attachment.size if record.storage_key is None else record.size,
        "expires_at": None if in_storage else _expires_at(attachment),
        "payload": cipher.encrypt(payload(attachment)),
        "progress": json.dumps(last.inputs) if resume and last.inputs is not None else None,
        "intake": in_storage,
        "history": entry.line(),
        "declared_sha256": _declared_sha256(attachment, intake=in_storage),
        "moved": int(source is not None),
    }


def shortened(message: str) -> str:
    """The error message as it is stored."""
    return str(clean_text(message))[:MAX_ERROR]


def record(row: Sequence[Any]) -> Record:
    """The Record of a row that starts with the columns RECORD."""
    fields = dict(zip(_COLUMNS, row, strict=False))
    fields["status"] = _STATUSES[fields["status"]]
    fields["stage"] = _STAGES[fields["stage"]]
    fields["kind"] = _KINDS[fields["kind"]]
    fields["declared_kind"] = _KINDS[fields["declared_kind"]]
    fields["animated"] = _BOOLEANS[fields["animated"]]
    fields["flags"] = _split(fields["flags"])
    fields["from_history"] = bool(fields["from_history"])
    return _trusted(Record, fields)


def stored_record(before: Record, values: dict[str, Any], *, now: int, has_preview: bool) -> StoredRecord:
    """The row after STORED with the values of `stored_row`. It is not read back: only the holder writes."""
    ended = {"status": Status.STORED, "stage": Stage.NOTIFY, "attempts": 0, "error_code": None, "error": None}
    typed = {
        "kind": _KINDS[values["kind"]],
        "flags": _split(values["flags"]),
        "ended_at": now,
        "has_preview": has_preview,
    }
    return _trusted(StoredRecord, {**vars(before), **values, **ended, **typed})


def done_record(before: Record, *, now: int) -> Record:
    """The row after FINISH_STORED."""
    done = {"status": Status.DONE, "error_code": None, "error": None, "finished_at": now, "announced_at": now}
    fields = {**vars(before), **done}
    fields.pop("has_preview", None)
    return _trusted(Record, fields)


def claim(token: str, row: Sequence[Any], cipher: SourceCipher) -> Claim:
    """The claim of a row with the columns CLAIMED, claimed with this token.

    Raises:
        EncryptionKeyError: its source cannot be decrypted.
    """
    stored_payload = row[len(_COLUMNS)]
    return _claim(token, row, parse_stored_attachment(cipher.decrypt(stored_payload)))


def claim_without_source(token: str, row: Sequence[Any]) -> Claim | None:
    """The claim of a row whose source cannot be decrypted, if no step needs it any more; else None.

    Only an attachment that is still to be fetched or checked needs its source. One that was cancelled needs none.
    """
    current = record(row)
    if current.status is Status.RECEIVED and current.cancelled_at is None:
        return None
    names = ("gateway", "session", "message_id", "part", "chat", "sender", "caption", "filename")
    return _claim(token, row, Attachment.model_validate({name: getattr(current, name) for name in names}))


def _claim(token: str, row: Sequence[Any], attachment: Attachment) -> Claim:
    _, progress, intake = row[len(_COLUMNS) :]
    current = record(row)
    return Claim(
        token=token,
        record=current,
        attachment=attachment,
        inputs=json.loads(progress) if progress else None,
        intake=intake,
        attempt_log=AttemptLog(current.run),
    )


def _split(flags: str | None) -> tuple[str, ...]:
    return tuple(flags.split(",")) if flags else ()


def _trusted(model: type[M], fields: dict[str, Any]) -> M:
    """An instance with all its fields, without validation: the values were validated when they were written.

    `model_construct` takes five times as long, because it looks up the default of each field.
    """
    instance = model.__new__(model)
    set_attribute = object.__setattr__  # the model's own refuses, because it is frozen
    set_attribute(instance, "__dict__", fields)
    set_attribute(instance, "__pydantic_fields_set__", set(fields))
    set_attribute(instance, "__pydantic_extra__", None)
    set_attribute(instance, "__pydantic_private__", None)
    return instance
