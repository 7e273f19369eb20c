"""The generic form: the fields of an attachment, as `/hooks/media` takes them."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

from esteira_client.errors import MessageError
from esteira_client.messages.hand_over import File, HandOver, Message
from esteira_client.messages.ids import attachment_id

PATH = "/hooks/media"
SOURCES = ("url", "data", "direct_path")
_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+(?:; ?[\w-]+=[\w.+-]+)?", re.ASCII)  # the sender's text becomes a header


def matches(message: Message) -> bool:
    return "message_id" in message


def hand_over(message: Message, session: str, file: File | None) -> HandOver:
    """The request for an attachment, whose bytes are a file or at a source that it names.

    Raises:
        MessageError: it has no id or no source, or its file cannot be read.
    """
    body = {**message, "session": session}
    message_id = body.get("message_id")
    if not (isinstance(message_id, str | int) and str(message_id)):
        raise MessageError("message_id is missing")
    part = body.get("part") or 0
    if not isinstance(part, int):
        raise MessageError("part is not a number")
    known = attachment_id("media", session, str(message_id), part)
    sent = HandOver(PATH, body, known, str(message_id))
    if isinstance(body.get("data"), bytes | bytearray | memoryview):
        if file is not None:
            raise MessageError("data and file are both set: leave one out")
        file = bytes(body.pop("data"))
    if file is not None:
        return _with_file(sent, bytes(file) if isinstance(file, bytearray | memoryview) else file)
    if not any(body.get(source) for source in SOURCES):
        raise MessageError("one of url, data and direct_path is needed, or a file")
    return sent


def _with_file(sent: HandOver, file: bytes | str | Path) -> HandOver:
    given = file if isinstance(file, bytes) else Path(file)
    if isinstance(given, Path) and not (given.is_file() and os.access(given, os.R_OK)):
        raise MessageError(f"{given.name} is no file that can be read")
    if not (given if isinstance(given, bytes) else given.stat().st_size):
        raise MessageError("the file is empty")
    filename = str(sent.body.get("filename") or "").encode("utf-8", "replace").decode()
    mimetype = str(sent.body.get("mimetype") or "")
    return replace(
        sent, file=given, filename=filename, mimetype=mimetype if _TYPE.fullmatch(mimetype) else sent.mimetype
    )
