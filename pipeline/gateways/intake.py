"""The request to a gateway's hook, and the attachments that its payload holds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError

from pipeline.config.settings import Settings
from pipeline.errors import Code, PayloadError
from pipeline.models import Attachment, Fault
from pipeline.models.base import Identifier
from pipeline.values.base64_stream import check_base64
from pipeline.values.emptiness import is_empty, none_if_zero
from pipeline.values.gateway_values import UNSTORABLE, whole_number

# Of identifiers that cannot be stored; that of the session is refused by `declared_session`.
UNSTORABLE_FAULTS = frozenset(f"{name}: {UNSTORABLE}" for name in ("message_id", "chat", "sender"))
_IDENTIFIER: TypeAdapter[str] = TypeAdapter(Identifier)
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
        PayloadError: it is missing, and DEFAULT_SESSION is not set; or it cannot be stored as it is.
    """
    session = settings.default_session if is_empty(value) else value
    if session is None:
        raise PayloadError(name, "is missing, and DEFAULT_SESSION is not set")
    try:
        return _IDENTIFIER.validate_python(session)
    except ValidationError as error:
        raise PayloadError(name, _text_of(error)) from None


def check_identifiers(parsed: ParsedPayload) -> None:
    """Raises PayloadError if the only attachment of a payload has an identifier that cannot be stored as it is.

    Of several, that one ends as `rejected`, so that it does not refuse the messages of others.
    """
    fault = parsed.attachments[0].fault if len(parsed.attachments) == 1 else None
    if fault and fault.message in UNSTORABLE_FAULTS:
        raise PayloadError(fault.message.partition(":")[0], UNSTORABLE)


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
            name, message = str(error.errors(include_input=False, include_url=False)[0]["loc"][0]), _text_of(error)
        except PayloadError as error:
            name, message = error.field, error.message
        else:
            return attachment
        values = _without(values, name, message)


def _text_of(error: ValidationError) -> str:
    return error.errors(include_input=False, include_url=False)[0]["msg"].removeprefix("Value error, ")


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
    fault = Fault(code=Code.BAD_PAYLOAD, message=prefix + message)
    earlier = rest.get("fault")
    is_first = not (isinstance(earlier, Fault) and earlier.message in UNSTORABLE_FAULTS)
    if fault.message in UNSTORABLE_FAULTS and is_first:
        return {**rest, "fault": fault}  # it outranks that there is nothing to fetch; see `check_identifiers`
    return {"fault": fault, **rest}


def _fingerprint(values: Mapping[str, Any]) -> str:
    text = json.dumps(values, sort_keys=True, default=str)
    return "sha256:" + hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
