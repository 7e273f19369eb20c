"""The frozen models that go from step to step, and the catalogue's row as the outside sees it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import to_json

from pipeline.errors import Code, PayloadError
from pipeline.history import AttemptLog
from pipeline.models.kinds import Kind as Kind
from pipeline.values.gateway_values import (
    clean_text,
    display_name,
    expiry_in,
    key_text,
    none_if_empty,
    plain_text,
    sha256_text,
    whole_number,
)

MAX_URL = 16_384
GATEWAYS_OWN = frozenset({"gateway", "remote_id", "fault"})  # fields that no sender of the generic JSON may set


class Status(StrEnum):
    """Where an attachment stands."""

    RECEIVED = "received"
    STORED = "stored"
    DONE = "done"
    REJECTED = "rejected"
    FAILED = "failed"
    EXPIRED = "expired"
    DELETED = "deleted"  # on request, after it had ended: the row stays, so that a repeat does not bring it back


class Stage(StrEnum):
    """The five steps in their order; each is the name of its actor and of its queue."""

    FETCH = "fetch"
    DETECT = "detect"
    VALIDATE = "validate"
    PERSIST = "persist"
    NOTIFY = "notify"


Identifier = Annotated[str, Field(min_length=1, max_length=512), BeforeValidator(plain_text)]
Text = Annotated[str | None, BeforeValidator(plain_text)]
Empty = BeforeValidator(none_if_empty)
Url = Annotated[Annotated[str, Field(max_length=MAX_URL)] | None, Empty, BeforeValidator(clean_text), Field(repr=False)]
Sha256 = Annotated[str | None, BeforeValidator(sha256_text)]
Count = Annotated[Annotated[int, Field(ge=0, le=2**53)] | None, BeforeValidator(whole_number)]


class Model(BaseModel):
    """A frozen model that ignores fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class Fault(Model):
    """Why an attachment is refused: before anything was fetched, as its gateway says or its message shows, or by the
    check of its type."""

    code: Code
    message: str


class Attachment(Model):
    """What a message carries, as a gateway declared it.

    `media_key` makes the bytes at the source WhatsApp ciphertext. `data` is the whole file in base64. `size` is the
    declared size of the plaintext in bytes, `timestamp` and `expires_at` are Unix seconds.

    Two fields are for gateways alone: `remote_id` is what its own server knows the file by, `fault` is why there is
    nothing to fetch.
    """

    gateway: Identifier = "media"
    session: Identifier
    message_id: Identifier
    part: int = Field(default=0, ge=0, le=10_000)
    url: Url = None
    data: Annotated[str | None, Empty, Field(repr=False)] = None
    kind: Kind | None = None
    mimetype: Text = None
    filename: Annotated[str | None, BeforeValidator(display_name)] = None
    size: Count = None
    media_key: Annotated[str | None, BeforeValidator(key_text), Field(repr=False)] = None
    direct_path: Url = None
    file_sha256: Sha256 = None
    file_enc_sha256: Sha256 = None
    chat: Text = None
    sender: Text = None
    caption: Text = None
    timestamp: Count = None
    expires_at: Count = None
    remote_id: Text = None
    fault: Fault | None = None

    @property
    def id(self) -> str:
        """32 hex digits from (gateway, session, message id, part): the same message twice has the same id."""
        return _id_of(self.gateway, self.session, self.message_id, self.part)

    @property
    def expiry(self) -> int | None:
        """When its source stops giving it out, in Unix seconds: as declared, or as WhatsApp writes it into a path."""
        return self.expires_at or expiry_in(self.direct_path) or expiry_in(self.url)

    @property
    def media_type(self) -> str | None:
        """The declared type without its parameters, in lower case: `audio/ogg` of `audio/ogg; codecs=opus`."""
        return self.mimetype.partition(";")[0].strip().lower() or None if self.mimetype else None


@lru_cache(maxsize=256)  # it is asked for many times while an attachment is in the works
def _id_of(*source: str | int) -> str:
    return hashlib.sha256(json.dumps(source).encode()).hexdigest()[:32]


def parse_attachment(fields: Any, *, has_file: bool = False) -> Attachment:
    """One attachment from the generic JSON: the body of the generic hook, a line of `submit --jsonl`.

    With `has_file` its bytes come as a local file, and it needs no other source.

    Raises:
        PayloadError: naming the first field that is wrong or missing.
    """
    if not isinstance(fields, dict):
        raise PayloadError("", "an attachment is a JSON object")
    try:
        attachment = Attachment.model_validate({name: fields[name] for name in fields if name not in GATEWAYS_OWN})
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise PayloadError(".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")) from None
    if not (has_file or attachment.url or attachment.data or attachment.direct_path):
        raise PayloadError("url", "one of url, data and direct_path is needed")
    return attachment


class Fetched(Model):
    """Whole plaintext bytes in the staging directory under the attachment's id; `sha256` is theirs, in hex.

    `deduplicated` tells that storage held them already and they were not fetched again.
    """

    size: int
    sha256: str
    deduplicated: bool = False


class Facts(Model):
    """What a decoder found out. Pixels, milliseconds; None where the type has no such thing."""

    width: int | None = None
    height: int | None = None
    duration_ms: int | None = None
    pages: int | None = None
    animated: bool | None = None
    flags: tuple[str, ...] = ()  # "macros", "encrypted", …: active content that was let through


class Checked(Model):
    """What the check of a type found when it was made together with detect: `facts`, or `fault` if it refuses.

    `limits` names those that it kept; under others it says nothing.
    """

    limits: str
    facts: Facts | None = None
    fault: Fault | None = None


class Detected(Model):
    """What the content is. `mismatch` says in words where the declaration differs, or is None.

    `checked` spares validate a call in the sandbox; without it validate makes one.
    """

    fetched: Fetched
    kind: Kind
    mime: str
    ext: str
    mismatch: str | None = None
    checked: Checked | None = None


class Validated(Model):
    """Content that was decoded and stays within every limit."""

    detected: Detected
    facts: Facts


class Stored(Model):
    """Content that stands in storage under its own hash. `name` is the seed's `<unix seconds>_<sha256[:6]>.<ext>`."""

    validated: Validated
    storage_key: str
    name: str


class Failure(Model):
    """Why an attachment ends without being stored, decided at `stage` after `attempts` attempts there.

    `inputs` is what the stage was given, so that a replay can start there.
    """

    status: Status
    stage: Stage
    attempts: int
    code: Code
    message: str
    inputs: dict[str, Any] | None = None


class Record(Model):
    """A row of the catalogue. Times are Unix milliseconds."""

    id: str
    gateway: str
    session: str
    message_id: str
    part: int
    chat: str | None = None
    sender: str | None = None
    status: Status
    stage: Stage
    attempts: int = 0
    run: int = 0  # how often it was replayed
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
    expires_at: int | None = None  # when its source stops giving it out, as far as that is known
    received_at: int
    ended_at: int | None = None  # when it was stored or refused; its announcement follows
    finished_at: int | None = None  # when nothing was left to do
    announced_at: int | None = None
    deleted_at: int | None = None
    cancelled_at: int | None = None  # when somebody asked for it


class StoredRecord(Record):
    """A row whose content has just been stored. `has_preview` tells that a preview of it was made before, or tried."""

    has_preview: bool


class LostSource(Model):
    """What a listener needs to ask the sender's telephone for a new upload, once the old one is gone.

    `direct_path` is without its query, which is a signature; `key_fingerprint` is the first 16 hex digits of the
    SHA-256 of the media key's bytes, to find the key by that is kept elsewhere.
    """

    chat: str | None = None
    message_id: str
    direct_path: str | None = None
    key_fingerprint: str | None = None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How an attachment ended, as it is announced. Holds no key and no source URL.

    Made of a record, for each file: nothing in it is for pydantic to check.
    """

    event_id: str
    type: str
    at: str  # ISO 8601, UTC
    id: str
    session: str
    message_id: str
    chat: str | None = None
    sender: str | None = None
    kind: Kind | None = None
    mime: str | None = None
    name: str | None = None
    size: int | None = None
    sha256: str | None = None
    url: str | None = None
    width: int | None = None
    height: int | None = None
    duration_ms: int | None = None
    caption: str | None = None
    error: dict[str, str] | None = None
    source: LostSource | None = None

    def payload(self) -> dict[str, Any]:
        """The event as JSON: every field, also those that are null; `source` only in `media.expired`."""
        own = self.__dict__
        told = {name: own[name] for name in _ALWAYS_TOLD}
        told["kind"] = self.kind.value if self.kind else None
        if self.source:
            told["source"] = self.source.model_dump()
        return told

    @cached_property
    def json(self) -> str:
        """The event as it is sent, and signed: JSON without blanks."""
        return to_json(self.payload()).decode()


_ALWAYS_TOLD = tuple(part.name for part in fields(Outcome) if part.name != "source")


class ContentMatch(StrEnum):
    """Why the content of an attachment need not be fetched: storage holds it, and this one has a right to it."""

    BY_SOURCE = "source"  # it was fetched from the same source before
    BY_HASH = "hash"  # its session has it, or whoever may have it for all sessions


class Claim(Model):
    """The right to work on one attachment. Every write to the catalogue shows `token`; a lost claim writes nothing.

    `attempt_log` is what happened under it since the last write.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    token: str
    record: Record
    attachment: Attachment
    inputs: dict[str, Any] | None = None  # what the stage that failed was given, after a replay
    intake: bool = False  # its bytes lie in storage under intake/<id>
    content_match: ContentMatch | None = None  # of one that is to be fetched
    attempt_log: AttemptLog = Field(default_factory=AttemptLog, repr=False)

    @property
    def id(self) -> str:
        return self.record.id


class Refusal(StrEnum):
    """Why a claim is not given."""

    UNKNOWN = "unknown"  # no such attachment
    ENDED = "ended"  # it has ended and was announced
    HELD = "held"  # somebody else works on it just now


class Accepted(Model):
    """What the catalogue says of an attachment that was handed over; `fresh` is False for a repeat."""

    id: str
    status: Status
    fresh: bool
