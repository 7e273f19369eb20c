"""The outcome of an attachment: why it failed, and the event that reports the result."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from pydantic_core import to_json

from pipeline.errors import Code
from pipeline.models.base import Model
from pipeline.models.record import Stage, Status
from pipeline.values.kinds import Kind


class Failure(Model):
    """Why an attachment is rejected, failed or expired, decided at `stage` after `attempts` attempts there.

    `inputs` is the input of that stage, so that a replay can resume there.
    """

    status: Status
    stage: Stage
    attempts: int
    code: Code
    message: str
    inputs: dict[str, Any] | None = None


class LostSource(Model):
    """What a bot needs to request a new upload from the sender's phone after the source has expired.

    `direct_path` has no query, which is a signature. `key_fingerprint` is the first 16 hex digits of the SHA-256 of the
    media key's bytes, with which a bot finds the key in its own store.
    """

    chat: str | None = None
    message_id: str
    direct_path: str | None = None
    key_fingerprint: str | None = None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The event that reports how an attachment ended. It contains no key and no source URL.

    A dataclass, not a model: it is built from a checked record for every file, so pydantic has nothing to check.
    """

    event_id: str
    type: str
    at: str  # ISO 8601, UTC
    id: str
    gateway: str = ""
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
    chat_number: str | None = None
    sender_number: str | None = None
    from_history: bool = False
    source: LostSource | None = None

    def payload(self) -> dict[str, Any]:
        """The event as JSON values: every field, also null ones; `source` only in `media.expired`."""
        values = self.__dict__
        payload = {name: values[name] for name in _ALWAYS_PRESENT}
        payload["kind"] = self.kind.value if self.kind else None
        if self.source:
            payload["source"] = self.source.model_dump()
        return payload

    @cached_property
    def json(self) -> str:
        """The event as it is sent and signed: JSON without whitespace."""
        return to_json(self.payload()).decode()


_ALWAYS_PRESENT = tuple(field.name for field in fields(Outcome) if field.name != "source")
