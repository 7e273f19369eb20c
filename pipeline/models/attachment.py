"""The attachment as its gateway declared it."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from pipeline.errors import Code, PayloadError
from pipeline.models.base import Caption, Count, Empty, Identifier, Key, Mimetype, Model, Name, Sha256, Url
from pipeline.values.emptiness import is_empty, none_if_zero
from pipeline.values.file_names import display_name
from pipeline.values.gateway_values import url_expiry, whole_number
from pipeline.values.kinds import Kind

GATEWAY_ONLY = frozenset(
    {"gateway", "identity", "remote_id", "from_history", "fault"}
)  # fields that a sender of the generic JSON may not set
COUNTS = frozenset({"size", "timestamp", "expires_at"})  # no attachment has 0 bytes or is of 1970: 0 is "unknown"
MAY_BE_ZERO = frozenset(
    {"part", "session", "message_id", "identity", "chat", "sender", "remote_id"}
)  # a number may be an id


class Fault(Model):
    """Why an attachment is refused, found by its gateway, in its message or by the check of its type."""

    code: Code
    message: str


class Attachment(Model):
    """What a message carries, as a gateway declared it.

    A field that is empty in any form counts as absent: see `is_empty`.

    With a `media_key` the bytes at the source are WhatsApp ciphertext. `data` is the whole file in base64. `size` is
    the declared size of the plaintext in bytes, `timestamp` and `expires_at` are Unix seconds.

    `from_me`: the session itself has sent the message.

    `chat_number` and `sender_number` are phone numbers in digits, where the addresses may be LIDs.

    Only gateways set four of the fields: `identity` is what all forms of the message's id have in common, `remote_id`
    is the gateway server's own name of the file, `from_history` says that the message is an old one, so that it goes
    last, `fault` is the reason why there is nothing to fetch.
    """

    gateway: Identifier = "media"
    session: Identifier
    message_id: Identifier
    identity: Name = None
    part: int = Field(default=0, ge=0, le=10_000)
    url: Url = None
    data: Annotated[str | None, Empty, Field(repr=False)] = None
    kind: Kind | None = None
    mimetype: Mimetype = None
    filename: Annotated[str | None, BeforeValidator(display_name)] = None
    size: Count = None
    media_key: Key = None
    direct_path: Url = None
    file_sha256: Sha256 = None
    file_enc_sha256: Sha256 = None
    from_me: bool | None = None
    chat: Name = None
    sender: Name = None
    chat_number: Name = None
    sender_number: Name = None
    caption: Caption = None
    timestamp: Count = None
    expires_at: Count = None
    remote_id: Name = None
    from_history: bool = False
    fault: Fault | None = None

    @model_validator(mode="before")
    @classmethod
    def _without_empty(cls, fields: Any) -> Any:
        """A field whose value is empty in any form is as good as absent."""
        if not isinstance(fields, dict):
            return fields
        return {name: value for name, value in fields.items() if not (is_empty(value) or _is_zero(name, value))}

    @property
    def id(self) -> str:
        """32 hex digits from (gateway, session, identity or message id, part). A repeated message has the same id."""
        return _id_of(self.gateway, self.session, self.identity or self.message_id, self.part)

    @property
    def former_id(self) -> str | None:
        """The id that versions before the identity gave this message, if it is another one."""
        return _id_of(self.gateway, self.session, self.message_id, self.part) if self.identity else None

    @property
    def expiry(self) -> int | None:
        """When the source expires, in Unix seconds: as declared, or as WhatsApp writes it into the path."""
        return self.expires_at or url_expiry(self.direct_path) or url_expiry(self.url)

    @property
    def media_type(self) -> str | None:
        """The declared type in lower case without parameters: `audio/ogg` for `audio/ogg; codecs=opus`."""
        return self.mimetype.partition(";")[0].strip().lower() or None if self.mimetype else None


def _is_zero(name: str, value: Any) -> bool:
    if name in MAY_BE_ZERO or not (name in COUNTS or isinstance(value, int | float)):
        return False
    return none_if_zero(whole_number(value)) is None


@lru_cache(maxsize=256)  # each attachment's id is read many times while it is processed
def _id_of(*source: str | int) -> str:
    return hashlib.sha256(json.dumps(source).encode()).hexdigest()[:32]


def parse_attachment(fields: Any, *, has_file: bool = False) -> Attachment:
    """Parses one attachment from the generic JSON: the body of the generic hook, or a line of `submit --jsonl`.

    With `has_file` its bytes are a local file, and it needs no other source.

    Raises:
        PayloadError: names the first field that is wrong or missing.
    """
    if not isinstance(fields, dict):
        raise PayloadError("", "an attachment is a JSON object")
    try:
        attachment = Attachment.model_validate({name: fields[name] for name in fields if name not in GATEWAY_ONLY})
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        # An empty field counts as absent; to say that it is missing would send its sender looking in the wrong place.
        is_given = first["type"] == "missing" and fields.get(first["loc"][0]) is not None
        message = "is empty" if is_given else first["msg"].removeprefix("Value error, ")
        raise PayloadError(".".join(map(str, first["loc"])), message) from None
    if not (has_file or attachment.url or attachment.data or attachment.direct_path):
        raise PayloadError("url", "one of url, data and direct_path is needed")
    return attachment


def parse_stored_attachment(text: str) -> Attachment:
    """Parses the JSON of a row. Fields that exceed limits introduced after the row was written become its fault."""
    try:
        return Attachment.model_validate_json(text)
    except ValidationError as error:
        wrong = {str(detail["loc"][0]) for detail in error.errors(include_input=False, include_url=False)}
    fields = {name: value for name, value in json.loads(text).items() if name not in wrong}
    fault = Fault(code=Code.BAD_PAYLOAD, message=f"{', '.join(sorted(wrong))}: not valid any more")
    return Attachment.model_validate({"fault": fault, **fields})
