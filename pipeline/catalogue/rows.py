"""Between the models and the catalogue's rows: plain values that both drivers take, and back."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from pipeline.catalogue.statements import CLAIMED
from pipeline.history import HistoryEntry, HistoryOutcome, Trail, entry_now, outcome_of_ending
from pipeline.models import Attachment, Claim, Ending, JustStored, Record, Stage, Status, Stored
from pipeline.new_source import NewSource, moved
from pipeline.payload_forms import clean_text

NAMES = tuple(column.name for column in CLAIMED)
MAX_ERROR = 2000  # characters of an error's message that are kept


def is_id(text: str) -> bool:
    """Whether this can be the id of an attachment; anything else is not worth a query, nor safe for the driver."""
    return re.fullmatch(r"[0-9a-f]{32}", text) is not None


def is_token(text: str) -> bool:
    """Whether this can be the token of a claim."""
    return re.fullmatch(r"[0-9a-f]{32}\.[0-9a-f]{16}", text) is not None


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
    }


def _expires_at(attachment: Attachment) -> int | None:
    return attachment.expiry * 1000 if attachment.expiry is not None else None


def payload(attachment: Attachment) -> str:
    """What a replay needs: everything but the bytes, which lie in storage."""
    return attachment.model_dump_json(exclude={"data"}, exclude_none=True)


def stored_row(stored: Stored) -> dict[str, Any]:
    """The columns that persist fills."""
    detected, facts = stored.validated.detected, stored.validated.facts
    return {
        "kind": detected.kind.value,
        "mime": detected.mime,
        "ext": detected.ext,
        "size": detected.fetched.size,
        "sha256": detected.fetched.sha256,
        "name": stored.name,
        "storage_key": stored.storage_key,
        "flags": ",".join(facts.flags) or None,
        "mismatch": clean_text(detected.mismatch),
        **facts.model_dump(exclude={"flags"}),
    }


def ended_row(ending: Ending) -> dict[str, Any]:
    """The columns that an ending fills."""
    return {
        "status": ending.status.value,
        "stage": ending.stage.value,
        "attempts": ending.attempts,
        "error_code": ending.code.value,
        "error": shortened(ending.message),
        "progress": json.dumps(ending.inputs) if ending.inputs is not None else None,
    }


def ending_entry(ending: Ending, *, run: int) -> HistoryEntry:
    """How an ending is told where no attempt led to it."""
    outcome = outcome_of_ending(ending.status, ending.code)
    fields = {"run": run, "attempt": ending.attempts, "code": ending.code.value, "message": ending.message}
    return entry_now(ending.stage.value, outcome, **fields)


def reopened_row(last: Claim, *, source: NewSource | None, intake: bool, now: int) -> dict[str, Any]:
    """The columns that a replay sets. `last` is the row as it ended; with `intake` its new bytes lie in storage."""
    record = last.record
    announcing = record.stage is Stage.NOTIFY
    resume = source is None and record.status is Status.FAILED and not (announcing and record.storage_key is None)
    announce = resume and announcing
    attachment = moved(last.attachment, source, intake=intake) if source else last.attachment
    given_here = intake or (last.intake and not (source and source.elsewhere))
    stage = record.stage if resume else Stage.FETCH
    told = "with a new source" if source else None
    again = entry_now(stage.value, HistoryOutcome.REPLAYED, run=record.run + 1, message=told)
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
    }


def shortened(message: str) -> str:
    """An error's message as the catalogue keeps it."""
    return str(clean_text(message))[:MAX_ERROR]


def record(row: Sequence[Any]) -> Record:
    """A row that starts with the columns of RECORD, as the outside sees it."""
    fields = dict(zip(NAMES, row, strict=False))
    fields["flags"] = tuple(fields["flags"].split(",")) if fields["flags"] else ()
    return Record.model_validate(fields)


def just_stored(row: Sequence[Any]) -> JustStored:
    """A row that has, after the columns of RECORD, whether there is a preview of its content."""
    return JustStored.model_validate({**dict(record(row)), "previewed": bool(row[-1])})


def claim(token: str, row: Sequence[Any]) -> Claim:
    """A row of CLAIMED that was claimed with this token."""
    fields = dict(zip(NAMES, row, strict=True))
    return Claim(
        token=token,
        record=record(row),
        attachment=Attachment.model_validate_json(fields["payload"]),
        inputs=json.loads(fields["progress"]) if fields["progress"] else None,
        intake=fields["intake"],
        trail=Trail(fields["run"]),
    )
