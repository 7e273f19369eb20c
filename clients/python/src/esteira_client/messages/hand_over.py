"""The request that hands one message over."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from esteira_client.errors import MessageError

Message = Mapping[str, Any]
File = bytes | bytearray | memoryview | str | Path


@dataclass(frozen=True)
class HandOver:
    """A message as the request that hands it over. `id` is the attachment's, the first one's if it has several.

    With a `file` the request is a form with the fields of `body`; `filename` (empty for none) and `mimetype` are those
    of its part.
    """

    path: str
    body: dict[str, Any]
    id: str
    message_id: str
    file: bytes | Path | None = None
    filename: str = ""
    mimetype: str = "application/octet-stream"

    @cached_property
    def json(self) -> bytes:
        """The body as JSON.

        Raises:
            MessageError: it cannot be written as JSON.
        """
        return to_json(self.body)

    @property
    def size(self) -> int:
        """The bytes of the file; 0 without one.

        Raises:
            MessageError: it cannot be read.
        """
        if self.file is None:
            return 0
        try:
            return len(self.file) if isinstance(self.file, bytes) else self.file.stat().st_size
        except OSError as error:
            raise file_error(error) from None

    def form_fields(self) -> dict[str, str]:
        """The fields of the form. Values that are not text are JSON, as for a media key as a list of numbers.

        A half of a surrogate pair, which UTF-8 cannot write, becomes a question mark, as in the server.

        Raises:
            MessageError: one cannot be written as JSON.
        """
        return {name: _text(value) for name, value in self.body.items() if value is not None}


@dataclass(frozen=True)
class WithoutMedia:
    """A text or another message that never has a file: the server need not hear of it."""

    message_id: str


def to_json(value: Any) -> bytes:
    """A value as compact JSON in ASCII, in which a half of a surrogate pair can be written; bytes in it as base64.

    Raises:
        MessageError: it cannot be written as JSON.
    """
    try:
        return json.dumps(value, separators=(",", ":"), default=_plain).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise MessageError(f"the message cannot be written as JSON ({type(error).__name__})") from None


def file_error(error: OSError) -> MessageError:
    """The error for a file of the listener that cannot be read."""
    return MessageError(f"the file cannot be read: {error.strerror}")


def _plain(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(type(value).__name__)


def _text(value: Any) -> str:
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode()
    text = value if isinstance(value, str) else to_json(value).decode()
    return text.encode("utf-8", "replace").decode()
