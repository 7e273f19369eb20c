"""The request to a gateway's hook, and the attachments that its payload holds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from pipeline.config.settings import Settings
from pipeline.errors import Code, PayloadError
from pipeline.models import Attachment, Fault
from pipeline.values.base64_stream import check_base64
from pipeline.values.emptiness import is_empty, none_if_zero
from pipeline.values.gateway_values import whole_number

FIELD_DEPTH = 2  # nested lists and objects in one field
MAX_HISTORY = 20_000  # old messages, or media in them, in one body: about what fits into one of MAX_BODY_MB
ONE_IGNORED = (None,)  # in place of messages: an event of an unknown form, or without messages, counts as one ignored


@dataclass(frozen=True)
class HookRequest:
    """The head of a request: headers by lower-case names, and the secret in the URL's path, if any."""

    headers: Mapping[str, str] = field(repr=False)
    secret: str | None = field(default=None, repr=False)

    def header(self, name: str) -> str:
        """A header's value, empty if there is none."""
        return self.headers.get(name.lower(), "")


@dataclass(frozen=True)
class ParsedPayload:
    """The attachments of a payload in its order; `ignored` counts the messages and events without media."""

    attachments: tuple[Attachment, ...] = ()
    ignored: int = 0


def check_batch_size(count: int, settings: Settings, *, history: bool = False) -> None:
    """Raises PayloadError if a body has more than MAX_BATCH messages or attachments, or too many of the history."""
    if history and count > MAX_HISTORY:
        raise PayloadError("", f"a body may hold at most {MAX_HISTORY} old messages")
    if not history and count > settings.max_batch:
        raise PayloadError("", f"a body may hold at most {settings.max_batch} messages (MAX_BATCH)")


def declared_size(value: Any) -> Any:
    """The size that a message declares; None if it is 0, which some senders write for an unknown size."""
    return none_if_zero(whole_number(value))


def declared_session(value: Any, name: str, settings: Settings) -> Any:
    """The session of a message, else DEFAULT_SESSION. `name` is the field in which the gateway sends it.

    Raises:
        PayloadError: it is missing, and DEFAULT_SESSION is not set.
    """
    session = settings.default_session if is_empty(value) else value
    if session is None:
        raise PayloadError(name, "is missing, and DEFAULT_SESSION is not set")
    return session


def build_attachment(fields: Mapping[str, Any]) -> Attachment:
    """Builds the attachment of a gateway's message. It never fails, so that no message with media is dropped.

    A field that is invalid is left out and becomes the attachment's fault: the attachment ends as `rejected`, which
    the user can see. Invalid inline bytes are left out without a fault if the file can be downloaded instead.
    Without a message id, the id is a hash of the content, so that a repeated message is the same attachment.
    """
    values = {name: _limit_depth(value) for name, value in fields.items() if value is not None}
    values["session"] = values.get("session") or "unknown"
    if is_empty(values.get("message_id")):
        values["message_id"] = _fingerprint(values)
    while True:
        try:
            attachment = Attachment.model_validate(values)
            check_base64(attachment.data or "")
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            name, message = str(first["loc"][0]), first["msg"].removeprefix("Value error, ")
        except PayloadError as error:
            name, message = error.field, error.message
        else:
            return attachment
        values = _without(values, name, message)


def _limit_depth(value: Any) -> Any:
    # A valid field is an object around a list of bytes at most. A deeper value could exhaust the stack of code that
    # serialises it. It is replaced by a nested list, which every field refuses as well.
    return [[]] if _is_deeper(value, FIELD_DEPTH) else value


def _is_deeper(value: Any, depth: int) -> bool:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return parts is not None and (depth == 0 or any(_is_deeper(part, depth - 1) for part in parts))


def _without(values: dict[str, Any], name: str, message: str) -> dict[str, Any]:
    rest = {key: value for key, value in values.items() if key != name}
    if name == "session":
        rest["session"] = "unknown"
    elif name == "message_id":
        rest["message_id"] = _fingerprint(values)
    if name == "data" and (rest.get("url") or rest.get("direct_path")):
        return rest  # the file is downloaded instead
    prefix = "" if message.startswith(f"{name}:") else f"{name}: "
    return {"fault": Fault(code=Code.BAD_PAYLOAD, message=prefix + message), **rest}


def _fingerprint(values: Mapping[str, Any]) -> str:
    text = json.dumps(values, sort_keys=True, default=str)
    return "sha256:" + hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
