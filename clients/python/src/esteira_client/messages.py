"""Messages in the forms that listeners have them, as requests to the hooks of the server.

| form | recognized by | hook |
|---|---|---|
| generic | no other form | `/hooks/media` |
| Baileys, Evolution API | `key`, an object with an `id` | `/hooks/evolution` |
| WPPConnect, venom, whatsapp-web.js | `id`, and no `message_id` | `/hooks/wppconnect` |
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from esteira_client.errors import MessageError
from esteira_client.message_ids import attachment_id, wppconnect_identity, wppconnect_message_id

Message = Mapping[str, Any]
File = bytes | str | Path

SOURCES = ("url", "data", "direct_path")
BAILEYS = ("key", "message", "messageTimestamp", "pushName", "participant", "messageType", "broadcast")


@dataclass(frozen=True)
class HandOver:
    """A message as the request that hands it over. `id` is the attachment's, as far as the client can tell.

    With a `file` the request is a form with the fields of `body`; `filename` and `mimetype` are those of its part.
    """

    path: str
    body: dict[str, Any]
    id: str | None
    message_id: str | None
    file: bytes | Path | None = None
    filename: str = "file"
    mimetype: str = "application/octet-stream"

    @cached_property
    def json(self) -> bytes:
        """The body as JSON; bytes in it as base64.

        Raises:
            MessageError: it cannot be written as JSON.
        """
        return to_json(self.body)

    def form_fields(self) -> dict[str, str]:
        """The fields of the form. Values that are not text are JSON, as for a media key as a list of bytes."""
        return {
            name: value if isinstance(value, str) else to_json(value).decode()
            for name, value in self.body.items()
            if value is not None
        }


def hand_over_of(message: Message, session: str | None, file: File | None = None) -> HandOver:
    """The request that hands a message over.

    Raises:
        MessageError: it is no object, has neither id nor source, or cannot be written as JSON.
    """
    if not isinstance(message, Mapping):
        raise MessageError(f"a message is a dict, not {type(message).__name__}")
    if session is not None and not (isinstance(session, str) and session):
        raise MessageError("session is text, and not empty")
    made = _of_form(message, session, file)
    if made.file is None:
        made.json  # noqa: B018  raises an error
    else:
        made.form_fields()
    return made


def _of_form(message: Message, session: str | None, file: File | None) -> HandOver:
    if isinstance(message.get("key"), Mapping) and "message_id" not in message:
        if file is not None:
            raise MessageError("a file goes with the generic form: session, message_id, kind")
        return _baileys(message, session)
    if "id" in message and "message_id" not in message:
        if file is not None:
            raise MessageError("a file goes with the generic form: session, message_id, kind")
        return _wppconnect(message, session)
    return _generic(message, session, file)


def _generic(message: Message, session: str | None, file: File | None) -> HandOver:
    body = {**message, **({"session": session} if session else {})}
    message_id, name = body.get("message_id"), body.get("session")
    if file is None and not message_id:
        raise MessageError("message_id is missing")
    if file is None and not any(body.get(source) for source in SOURCES):
        raise MessageError("one of url, data and direct_path is needed, or a file")
    text = str(message_id) if isinstance(message_id, str | int) else None
    part = body.get("part") or 0
    known = attachment_id("media", name, text, part) if isinstance(name, str) and isinstance(part, int) else None
    if file is None:
        return HandOver("/hooks/media", body, known, text)
    path = file if isinstance(file, bytes) else Path(file)
    if isinstance(path, Path) and not (path.is_file() and os.access(path, os.R_OK)):
        raise MessageError(f"{path.name} is no file that can be read")
    given_name = body.get("filename") or (path.name if isinstance(path, Path) else "file")
    mimetype = body.get("mimetype") or "application/octet-stream"
    return HandOver("/hooks/media", body, known, text, path, str(given_name), str(mimetype))


def _wppconnect(message: Message, session: str | None) -> HandOver:
    raw = message.get("_data") or message.get("rawData")  # whatsapp-web.js keeps WhatsApp's own message there
    fields = {**raw, **_present(message, "body")} if isinstance(raw, Mapping) else message
    fields = {name: value for name, value in fields.items() if name not in {"_data", "rawData", "client"}}
    name = session or fields.get("session")
    body = {**fields, "event": "onmessage", **({"session": name} if name else {})}
    known = attachment_id("wppconnect", name, wppconnect_identity(fields)) if isinstance(name, str) else None
    return HandOver("/hooks/wppconnect", body, known, wppconnect_message_id(fields))


def _baileys(message: Message, session: str | None) -> HandOver:
    body: dict[str, Any] = {
        "event": "messages.upsert",
        "data": {name: message[name] for name in BAILEYS if name in message},
    }
    if session:
        body["instance"] = session
    message_id = message["key"].get("id")
    if not isinstance(message_id, str):
        raise MessageError("key.id is missing")
    return HandOver("/hooks/evolution", body, attachment_id("evolution", session, message_id), message_id)


def _present(message: Message, *names: str) -> dict[str, Any]:
    return {name: message[name] for name in names if message.get(name)}


def to_json(value: Any) -> bytes:
    """A value as compact JSON; bytes in it as base64.

    Raises:
        MessageError: it cannot be written as JSON.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_plain)
        return text.encode()
    except (TypeError, ValueError, RecursionError) as error:  # a lone surrogate is a ValueError
        raise MessageError(f"the message cannot be written as JSON ({type(error).__name__})") from None


def _plain(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(type(value).__name__)
