"""The roles of callers, and what each of them may do. docs/security.md has the same table for people."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Permission(StrEnum):
    """What a route of the API, a page of the dashboard or a live connection needs."""

    READ = "read"  # attachments, their content and links to it, failures, live events
    DOCS = "docs"  # the API's documentation
    CONTENT = "content"  # the content and the thumbnail of one attachment
    INTAKE = "intake"  # hand attachments over
    REPLAY = "replay"
    CANCEL = "cancel"
    PAUSE = "pause"  # sessions; a stage is SYSTEM_CONTROL, because it stops all sessions
    DELETE = "delete"
    SYSTEM = "system"  # figures of all sessions: statistics, workers, metrics, webhook deliveries
    SYSTEM_CONTROL = "system_control"  # pause stages, redeliver webhooks
    AUDIT = "audit"  # the audit log


class Role(StrEnum):
    """The role of a caller. `LINK` is the role of signed links only; no user has it."""

    ADMIN = "admin"
    OPERATOR = "operator"
    VIEWER = "viewer"
    INTAKE = "intake"
    LINK = "link"


USER_ROLES = (Role.ADMIN, Role.OPERATOR, Role.VIEWER, Role.INTAKE)

_VIEWER = frozenset({Permission.READ, Permission.DOCS, Permission.CONTENT, Permission.SYSTEM})
_OPERATOR = _VIEWER | {Permission.REPLAY, Permission.CANCEL, Permission.PAUSE, Permission.SYSTEM_CONTROL}

PERMISSIONS: Mapping[Role, frozenset[Permission]] = {
    Role.ADMIN: frozenset(Permission),
    Role.OPERATOR: _OPERATOR,
    Role.VIEWER: _VIEWER,
    Role.INTAKE: frozenset({Permission.INTAKE}),
    Role.LINK: frozenset({Permission.CONTENT}),
}

# These concern all sessions at once, so a caller that is limited to some sessions never has them.
ACROSS_SESSIONS = frozenset({Permission.SYSTEM, Permission.SYSTEM_CONTROL, Permission.AUDIT})
