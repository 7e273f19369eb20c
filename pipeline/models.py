"""The frozen models that go from step to step, and the catalogue's row as the outside sees it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import unicodedata
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from pipeline.errors import Code, PayloadError

MAX_FILENAME_BYTES = 255  # the limit of a name on common filesystems
MAX_URL = 16_384
SHA256_BYTES = 32


class Kind(StrEnum):
    """What an attachment is for the people in the chat. `ptt` is a voice note."""

    IMAGE = "image"
    VIDEO = "video"
    AUDIO = "audio"
    PTT = "ptt"
    DOCUMENT = "document"
    STICKER = "sticker"


class Status(StrEnum):
    """Where an attachment stands."""

    RECEIVED = "received"
    STORED = "stored"
    DONE = "done"
    REJECTED = "rejected"
    FAILED = "failed"
    EXPIRED = "expired"


class Stage(StrEnum):
    """The five steps in their order; each is the name of its actor and of its queue."""

    FETCH = "fetch"
    DETECT = "detect"
    VALIDATE = "validate"
    PERSIST = "persist"
    NOTIFY = "notify"


def clean_text(value: Any) -> Any:
    """Replaces what a database or a terminal cannot hold: NUL and lone surrogates. Other types pass unchanged."""
    if not isinstance(value, str):
        return value
    return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def plain_text(value: Any) -> Any:
    """Numbers become text, as gateways send ids either way; text is cleaned."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else clean_text(value)


def display_name(value: Any) -> Any:
    """The file name that a sender gave, fit for display: no path, no control or direction marks, at most 255 bytes."""
    if not isinstance(value, str):
        return value
    name = re.split(r"[/\\]", clean_text(value))[-1]
    name = "".join(char for char in name if unicodedata.category(char) not in {"Cc", "Cf", "Zl", "Zp"}).strip(" .")
    while len(name.encode()) > MAX_FILENAME_BYTES:
        stem, dot, ext = name.rpartition(".")
        name = f"{stem[:-1]}{dot}{ext}" if stem and len(ext) < 16 else name[:-1]
    return name or None


def bytes_in(value: Any) -> bytes | None:
    """The bytes behind what gateways send for them, or None if it is none of their forms.

    Forms: base64 (standard or URL-safe, padded or not), hex, a list of numbers, `{"0": 146, "1": 129, …}` and
    `{"type": "Buffer", "data": […]}` (Evolution API and Baileys serialise byte arrays so).
    """
    if isinstance(value, bytes):
        return value
    if isinstance(value, dict):
        if isinstance(value.get("data"), list):
            return bytes_in(value["data"])
        try:
            return bytes_in([value[str(index)] for index in range(len(value))])
        except KeyError:
            return None
    if isinstance(value, list):
        try:
            return bytes(value)
        except (TypeError, ValueError):
            return None
    return _bytes_in_text(value.strip()) if isinstance(value, str) else None


def _bytes_in_text(text: str) -> bytes | None:
    if len(text) % 2 == 0 and len(text) >= 2 * SHA256_BYTES and re.fullmatch(r"[0-9a-fA-F]+", text):
        return bytes.fromhex(text)
    padded = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(padded + "=" * (-len(padded) % 4), validate=True)
    except ValueError:  # binascii.Error is one; characters beyond ASCII raise another
        return None


def _none_if_empty(value: Any) -> Any:
    """Empty text means none, as gateways send it for what a message does not have."""
    return None if value == "" else value


def _key_text(value: Any) -> Any:
    """A media key as text. What is no key stays as it came: fetch refuses it with `decrypt_key`."""
    if isinstance(value, (dict, list, bytes)):
        decoded = bytes_in(value)
        return base64.b64encode(decoded).decode() if decoded is not None else json.dumps(value, default=str)
    return clean_text(value)


def _sha256_text(value: Any) -> Any:
    """A SHA-256 as 64 lower-case hex digits; empty means none."""
    if value is None or value == "":
        return None
    decoded = bytes_in(value)
    if decoded is None or len(decoded) != SHA256_BYTES:
        raise ValueError("must be a SHA-256 in hex, base64 or as an array of 32 bytes")
    return decoded.hex()


Identifier = Annotated[str, Field(min_length=1, max_length=512), BeforeValidator(plain_text)]
Text = Annotated[str | None, BeforeValidator(plain_text)]
Empty = BeforeValidator(_none_if_empty)
Url = Annotated[Annotated[str, Field(max_length=MAX_URL)] | None, Empty, BeforeValidator(clean_text), Field(repr=False)]
Sha256 = Annotated[str | None, BeforeValidator(_sha256_text)]


class Model(BaseModel):
    """A frozen model that ignores fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class Attachment(Model):
    """What a message carries, as a gateway declared it.

    `media_key` makes the bytes at the source WhatsApp ciphertext. `data` is the whole file in base64. `size` is the
    declared size of the plaintext in bytes, `timestamp` and `expires_at` are Unix seconds.
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
    size: int | None = Field(default=None, ge=0)
    media_key: Annotated[str | None, BeforeValidator(_key_text), Field(repr=False)] = None
    direct_path: Url = None
    file_sha256: Sha256 = None
    file_enc_sha256: Sha256 = None
    chat: Text = None
    sender: Text = None
    caption: Text = None
    timestamp: int | None = None
    expires_at: int | None = None

    @property
    def id(self) -> str:
        """32 hex digits from (gateway, session, message id, part): the same message twice has the same id."""
        words = json.dumps([self.gateway, self.session, self.message_id, self.part])
        return hashlib.sha256(words.encode()).hexdigest()[:32]

    @property
    def media_type(self) -> str | None:
        """The declared type without its parameters, in lower case: `audio/ogg` of `audio/ogg; codecs=opus`."""
        return self.mimetype.partition(";")[0].strip().lower() or None if self.mimetype else None


def parse_attachment(fields: Any, *, has_file: bool = False) -> Attachment:
    """One attachment from the generic JSON: the body of the generic hook, a line of `submit --jsonl`.

    With `has_file` its bytes come as a local file, and it needs no other source.

    Raises:
        PayloadError: naming the first field that is wrong or missing.
    """
    if not isinstance(fields, dict):
        raise PayloadError("", "an attachment is a JSON object")
    try:
        attachment = Attachment.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise PayloadError(".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")) from None
    if not (has_file or attachment.url or attachment.data or attachment.direct_path):
        raise PayloadError("url", "one of url, data and direct_path is needed")
    return attachment


class Fetched(Model):
    """Whole plaintext bytes in the staging directory under the attachment's id; `sha256` is theirs, in hex."""

    size: int
    sha256: str


class Detected(Model):
    """What the content is. `mismatch` says in words where the declaration differs, or is None."""

    fetched: Fetched
    kind: Kind
    mime: str
    ext: str
    mismatch: str | None = None


class Facts(Model):
    """What a decoder found out. Pixels, milliseconds; None where the type has no such thing."""

    width: int | None = None
    height: int | None = None
    duration_ms: int | None = None
    pages: int | None = None
    animated: bool | None = None
    flags: tuple[str, ...] = ()  # "macros", "encrypted", …: active content that was let through


class Validated(Model):
    """Content that was decoded and stays within every limit."""

    detected: Detected
    facts: Facts


class Stored(Model):
    """Content that stands in storage under its own hash. `name` is the seed's `<unix seconds>_<sha256[:6]>.<ext>`."""

    validated: Validated
    storage_key: str
    name: str


class Ending(Model):
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
    received_at: int
    ended_at: int | None = None  # when it was stored or refused; its announcement follows
    finished_at: int | None = None  # when nothing was left to do
    announced_at: int | None = None


class Outcome(Model):
    """How an attachment ended, as it is announced. Holds no key and no source URL."""

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

    def payload(self) -> dict[str, Any]:
        """The event as JSON: every field, also those that are null."""
        return self.model_dump(mode="json")


class Claim(Model):
    """The right to work on one attachment. Every write to the catalogue shows `token`; a lost claim writes nothing."""

    token: str
    record: Record
    attachment: Attachment
    inputs: dict[str, Any] | None = None  # what the stage that failed was given, after a replay
    intake: bool = False  # its bytes lie in storage under intake/<id>

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
