"""Models of the audit log. Times are Unix milliseconds."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from pipeline.models import Model, Text


class Action(StrEnum):
    """The actions in the audit log. The values are stored and must not change."""

    SUBMIT = "submit"
    REPLAY = "replay"
    NEW_SOURCE = "new_source"  # a replay that fetches from another source
    CANCEL = "cancel"
    DELETE = "delete"
    PAUSE = "pause"
    RESUME = "resume"
    REDELIVER = "redeliver"
    DERIVE = "derive"
    SWEEP = "sweep"
    MIGRATE = "migrate"
    ROTATE_KEYS = "rotate_keys"
    TOKEN = "token"  # noqa: S105 -- the name of an action
    LINK = "link"
    LOGIN = "login"
    LOGOUT = "logout"
    USER_ADD = "user_add"
    USER_REVOKE = "user_revoke"
    USER_ROTATE = "user_rotate"


class AuditOutcome(StrEnum):
    """How an action ended."""

    STARTED = "started"  # in progress, or its process died; `count` is what it had reported
    DONE = "done"
    REFUSED = "refused"  # the caller may not do this, and nothing was changed
    FAILED = "failed"  # an error ended it; `count` was done before
    INTERRUPTED = "interrupted"  # it was stopped by a person or a signal; `count` was done before


class Via(StrEnum):
    """The interface that an action came through."""

    API = "api"
    DASHBOARD = "dashboard"
    CLI = "cli"


class Actor(Model):
    """Who acts. `source` is a client's address, or user@host for the command line.

    `who` is the name of the user or `unknown`. `role` and `token_id` are None for a caller without a valid token.
    """

    who: str
    via: Via
    source: str = ""
    role: Text = None
    token_id: Text = None


class AuditRecord(Model):
    """An entry of the audit log. `target` names what was selected, `detail` what came of it."""

    id: str
    at: int
    who: str
    role: str | None
    token_id: str | None
    via: str
    source: str
    action: str
    target: dict[str, Any]
    count: int
    outcome: str
    detail: dict[str, Any]
    ended_at: int | None


class AuditFilters(Model):
    """Filters of the audit log, all of which must match. Times are Unix milliseconds; `until` is exclusive."""

    who: Annotated[str, StringConstraints(max_length=512)] | None = None
    action: Action | None = None
    outcome: AuditOutcome | None = None
    via: Via | None = None
    since: int | None = Field(default=None, ge=0, lt=2**63)
    until: int | None = Field(default=None, ge=0, lt=2**63)

    def parameters(self) -> dict[str, Any]:
        """The filters that are set, except the times, as plain values."""
        return self.model_dump(mode="json", exclude_none=True, exclude={"since", "until"})
