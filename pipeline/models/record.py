"""A row of the catalogue's table `media`, as the API and the CLI show it."""

from __future__ import annotations

from enum import StrEnum

from pipeline.models.base import Model
from pipeline.values.kinds import Kind


class Status(StrEnum):
    """The status of an attachment."""

    RECEIVED = "received"
    STORED = "stored"
    DONE = "done"
    REJECTED = "rejected"
    FAILED = "failed"
    EXPIRED = "expired"
    DELETED = "deleted"  # on request; the row is kept so that a repeated message does not import it again


REPLAYABLE = (Status.FAILED, Status.REJECTED, Status.EXPIRED)  # a replay can process these again


class Stage(StrEnum):
    """The five steps in their order. Each value is also the name of an actor and of its queue."""

    FETCH = "fetch"
    DETECT = "detect"
    VALIDATE = "validate"
    PERSIST = "persist"
    NOTIFY = "notify"


class Record(Model):
    """One attachment in the catalogue. Times are Unix milliseconds."""

    id: str
    gateway: str
    session: str
    message_id: str
    part: int
    chat: str | None = None
    sender: str | None = None
    chat_number: str | None = None
    sender_number: str | None = None
    status: Status
    stage: Stage
    attempts: int = 0
    run: int = 0  # number of replays
    error_code: str | None = None
    error: str | None = None
    kind: Kind | None = None
    mime: str | None = None
    ext: str | None = None
    size: int | None = None
    sha256: str | None = None
    name: str | None = None
    storage_key: str | None = None
    declared_kind: Kind | None = None
    declared_mime: str | None = None
    filename: str | None = None
    caption: str | None = None
    width: int | None = None
    height: int | None = None
    duration_ms: int | None = None
    pages: int | None = None
    animated: bool | None = None
    flags: tuple[str, ...] = ()
    mismatch: str | None = None
    expires_at: int | None = None  # when its source expires, if known
    from_history: bool = False  # it came with old messages
    received_at: int
    ended_at: int | None = None  # when it was stored or refused; the event follows
    finished_at: int | None = None  # when no work was left
    announced_at: int | None = None
    deleted_at: int | None = None
    cancelled_at: int | None = None  # when the cancellation was requested


class StoredRecord(Record):
    """A row whose content was stored just now. `has_preview`: a preview of this content was made or tried before."""

    has_preview: bool
