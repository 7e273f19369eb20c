"""Answers of the catalogue: what was accepted, and the claim on an attachment or its refusal."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import ConfigDict, Field

from pipeline.history import AttemptLog
from pipeline.models.attachment import Attachment
from pipeline.models.base import Model
from pipeline.models.record import Record, Status


class ContentMatch(StrEnum):
    """Why an attachment's content need not be fetched: storage has it, and this attachment may use it."""

    BY_SOURCE = "source"  # it was fetched from the same source before
    BY_HASH = "hash"  # its session has it, or all sessions share content by hash


class Claim(Model):
    """The right to work on one attachment. Every write to the catalogue presents `token`; a lost claim writes nothing.

    `attempt_log` contains what happened under the claim since the last write.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    token: str
    record: Record
    attachment: Attachment
    inputs: dict[str, Any] | None = None  # after a replay: the input of the stage that failed
    intake: bool = False  # its bytes are in storage under intake/<id>
    content_match: ContentMatch | None = None  # only for an attachment that is to be fetched
    attempt_log: AttemptLog = Field(default_factory=AttemptLog, repr=False)

    @property
    def id(self) -> str:
        return self.record.id


class Refusal(StrEnum):
    """Why the catalogue grants no claim."""

    UNKNOWN = "unknown"  # no such attachment
    ENDED = "ended"  # it is finished
    HELD = "held"  # another worker holds a live claim


class Accepted(Model):
    """The answer to an attachment that was handed over. `fresh` is False for a repeated message."""

    id: str
    status: Status
    fresh: bool
