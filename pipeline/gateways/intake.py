"""What a gateway's listener hook is given, and what it makes of it."""

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
from pipeline.values.gateway_values import whole_number

FIELD_DEPTH = 2  # lists and objects within each other in one field


@dataclass(frozen=True)
class HookRequest:
    """A request as it came: headers by their lower-case names, the raw body, the secret of the URL's path if any."""

    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    secret: str | None = field(default=None, repr=False)

    def header(self, name: str) -> str:
        """A header's value, empty if there is none."""
        return self.headers.get(name.lower(), "")


@dataclass(frozen=True)
class ParsedPayload:
    """The attachments of a payload in their order; `ignored` counts messages and events that carry none."""

    attachments: tuple[Attachment, ...] = ()
    ignored: int = 0


def check_batch(count: int, settings: Settings) -> None:
    """Raises PayloadError if a body holds more than MAX_BATCH messages, or attachments."""
    if count > settings.max_batch:
        raise PayloadError("", f"a body has at most {settings.max_batch} messages (MAX_BATCH)")


def declared_size(value: Any) -> Any:
    """A size as a message declares it, or None where it is 0: some senders leave it out so, and no file is empty."""
    size = whole_number(value)
    return None if size in (0, "0") else size


def build_attachment(fields: Mapping[str, Any]) -> Attachment:
    """The attachment of a message that a gateway has sent. It is always one: nothing that carries media is dropped.

    A field that does not fit is left out and becomes the attachment's fault, so that it ends as `rejected` and its
    sender's user learns of it; inline bytes that are none are left out silently if the file lies elsewhere, too.
    Without a message id it gets one from its content, so that a repeat is still the same.
    """
    given = {name: _shallow(value) for name, value in fields.items() if value is not None}
    given["session"] = given.get("session") or "unknown"
    given["message_id"] = given.get("message_id") or _fingerprint(given)
    while True:
        try:
            attachment = Attachment.model_validate(given)
            check_base64(attachment.data or "")
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            name, message = str(first["loc"][0]), first["msg"].removeprefix("Value error, ")
        except PayloadError as error:
            name, message = error.field, error.message
        else:
            return attachment
        given = _without(given, name, message)


def _shallow(value: Any) -> Any:
    # Bytes come as an object around a list, at most. What is deeper would be too deep for those that write it as text:
    # a list in a list is as wrong in every field.
    return [[]] if _is_deeper(value, FIELD_DEPTH) else value


def _is_deeper(value: Any, depth: int) -> bool:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return parts is not None and (depth == 0 or any(_is_deeper(part, depth - 1) for part in parts))


def _without(given: dict[str, Any], name: str, message: str) -> dict[str, Any]:
    rest = {key: value for key, value in given.items() if key != name}
    if name == "session":
        rest["session"] = "unknown"
    elif name == "message_id":
        rest["message_id"] = _fingerprint(given)
    if name == "data" and (rest.get("url") or rest.get("direct_path")):
        return rest  # the same file lies elsewhere, too
    prefix = "" if message.startswith(f"{name}:") else f"{name}: "
    return {"fault": Fault(code=Code.BAD_PAYLOAD, message=prefix + message), **rest}


def _fingerprint(given: Mapping[str, Any]) -> str:
    text = json.dumps(given, sort_keys=True, default=str)
    return "sha256:" + hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
