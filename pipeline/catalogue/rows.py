"""Between the models and the catalogue's rows: plain values that both drivers take, and back."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, TypeVar

from pipeline.history import AttemptLog, HistoryEntry, HistoryOutcome, failure_outcome, new_entry
from pipeline.models import Attachment, Claim, Failure, Kind, Model, Record, Stage, Status, Stored, StoredRecord
from pipeline.models.replacement_source import NewSource, with_new_source
from pipeline.models.source_fingerprint import source_mark
from pipeline.values.gateway_values import clean_text

M = TypeVar("M", bound=Model)

_ID = re.compile(r"[0-9a-f]{32}")
_TOKEN = re.compile(r"[0-9a-f]{32}\.[0-9a-f]{16}")
_SHOWN = tuple(Record.model_fields)
_STATUSES = {status.value: status for status in Status}
_STAGES = {stage.value: stage for stage in Stage}
_KINDS: dict[str | None, Kind | None] = {None: None, **{kind.value: kind for kind in Kind}}
_TRUTH = {None: None, False: False, True: True}  # also of SQLite, which answers with 0 and 1
MAX_ERROR = 2000  # characters of an error's message that are kept


def is_id(text: str) -> bool:
    """Whether this can be the id of an attachment; anything else is not worth a query, nor safe for the driver."""
    return _ID.fullmatch(text) is not None


def is_token(text: str) -> bool:
    """Whether this can be the token of a claim."""
    return _TOKEN.fullmatch(text) is not None


def accepted_row(attachment: Attachment, *, intake: bool, now: int) -> dict[str, Any]:
    """The row of an attachment that was handed over just now."""
    kind = attachment.kind.value if attachment.kind else None
    return {
        "id": attachment.id,
        "gateway": attachment.gateway,
        "session": attachment.session,
        "message_id": attachment.message_id,
        "part": attachment.part,
        "chat": attachment.chat,
        "sender": attachment.sender,
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
        "payload": payload(attachment),
        "declared_sha256": _declared_sha256(attachment, intake=intake),
        "source_mark": None if intake else source_mark(attachment),
    }


def _declared_sha256(attachment: Attachment, *, intake: bool) -> str | None:
    """The hash by which others with the same content are found; what need not be fetched has no use for them."""
    return None if intake or attachment.data else attachment.file_sha256


def _expires_at(attachment: Attachment) -> int | None:
    return attachment.expiry * 1000 if attachment.expiry is not None else None


def payload(attachment: Attachment) -> str:
    """What a replay needs: everything but the bytes, which lie in storage."""
    return attachment.model_dump_json(exclude={"data"}, exclude_none=True)


def stored_row(stored: Stored) -> dict[str, Any]:
    """The columns that persist fills."""
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


def ended_row(ending: Failure) -> dict[str, Any]:
    """The columns that an ending fills."""
    return {
        "status": ending.status.value,
        "stage": ending.stage.value,
        "attempts": ending.attempts,
        "error_code": ending.code.value,
        "error": shortened(ending.message),
        "progress": json.dumps(ending.inputs) if ending.inputs is not None else None,
    }


def ending_entry(ending: Failure, *, run: int) -> HistoryEntry:
    """How an ending is told where no attempt led to it."""
    outcome = failure_outcome(ending.status, ending.code)
    fields = {"run": run, "attempt": ending.attempts, "code": ending.code.value, "message": ending.message}
    return new_entry(ending.stage.value, outcome, **fields)


def reopened_row(last: Claim, *, source: NewSource | None, intake: bool, now: int) -> dict[str, Any]:
    """The columns that a replay sets. `last` is the row as it ended; with `intake` its new bytes lie in storage."""
    record = last.record
    announcing = record.stage is Stage.NOTIFY
    resume = source is None and record.status is Status.FAILED and not (announcing and record.storage_key is None)
    announce = resume and announcing
    attachment = with_new_source(last.attachment, source, intake=intake) if source else last.attachment
    given_here = intake or (last.intake and not (source and source.has_location))
    stage = record.stage if resume else Stage.FETCH
    told = "with a new source" if source else None
    again = new_entry(stage.value, HistoryOutcome.REPLAYED, run=record.run + 1, message=told)
    return {
        "status": (Status.STORED if announce else Status.RECEIVED).value,
        "stage": stage.value,
        "ended_at": now if announce else None,
        "size": attachment.size if record.storage_key is None else record.size,
        "expires_at": None if given_here else _expires_at(attachment),
        "payload": payload(attachment),
        "progress": json.dumps(last.inputs) if resume and last.inputs is not None else None,
        "intake": given_here,
        "history": again.line(),
        "declared_sha256": _declared_sha256(attachment, intake=given_here),
        "moved": int(source is not None),
    }


def shortened(message: str) -> str:
    """An error's message as the catalogue keeps it."""
    return str(clean_text(message))[:MAX_ERROR]


def record(row: Sequence[Any]) -> Record:
    """A row that starts with the columns of RECORD, as the outside sees it."""
    fields = dict(zip(_SHOWN, row, strict=False))
    fields["status"] = _STATUSES[fields["status"]]
    fields["stage"] = _STAGES[fields["stage"]]
    fields["kind"] = _KINDS[fields["kind"]]
    fields["declared_kind"] = _KINDS[fields["declared_kind"]]
    fields["animated"] = _TRUTH[fields["animated"]]
    fields["flags"] = _words(fields["flags"])
    return _trusted(Record, fields)


def just_stored(before: Record, given: dict[str, Any], *, now: int, has_preview: bool) -> StoredRecord:
    """The row that STORED has made of `before` with the values of `stored_row`: nobody else writes under a claim."""
    ended = {"status": Status.STORED, "stage": Stage.NOTIFY, "attempts": 0, "error_code": None, "error": None}
    typed = {
        "kind": _KINDS[given["kind"]],
        "flags": _words(given["flags"]),
        "ended_at": now,
        "has_preview": has_preview,
    }
    return _trusted(StoredRecord, {**vars(before), **given, **ended, **typed})


def just_done(before: Record, *, now: int) -> Record:
    """The row that FINISH_STORED has made of `before`."""
    done = {"status": Status.DONE, "error_code": None, "error": None, "finished_at": now, "announced_at": now}
    fields = {**vars(before), **done}
    fields.pop("has_preview", None)
    return _trusted(Record, fields)


def claim(token: str, row: Sequence[Any]) -> Claim:
    """A row of CLAIMED that was claimed with this token."""
    payload, progress, intake = row[len(_SHOWN) :]
    found = record(row)
    return Claim(
        token=token,
        record=found,
        attachment=Attachment.model_validate_json(payload),
        inputs=json.loads(progress) if progress else None,
        intake=intake,
        attempt_log=AttemptLog(found.run),
    )


def _words(flags: str | None) -> tuple[str, ...]:
    return tuple(flags.split(",")) if flags else ()


def _trusted(model: type[M], fields: dict[str, Any]) -> M:
    """An instance with all its fields, unchecked: these columns were checked when they were written.

    `model_construct` does the same in five times the time, for it looks for a default of each.
    """
    made = model.__new__(model)
    setting = object.__setattr__  # the model's own is for nobody: it is frozen
    setting(made, "__dict__", fields)
    setting(made, "__pydantic_fields_set__", set(fields))
    setting(made, "__pydantic_extra__", None)
    setting(made, "__pydantic_private__", None)
    return made
