"""Who calls: the name, the role and the sessions of an authenticated caller."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.errors import Code, PermanentError
from pipeline.models import Record
from pipeline.security.roles import ACROSS_SESSIONS, PERMISSIONS, Permission, Role
from pipeline.security.scopes import ALL_SESSIONS, NO_SESSIONS, Scope

RESERVED_NAMES = OF_API_TOKEN, OF_CLI, OF_LINK, OF_SESSION_TOKEN, OF_ANONYMOUS = (
    *("api-token", "cli", "link", "session-token", "anonymous"),  # no user has one of these
)


class ForbiddenError(PermanentError):
    """Raised when a caller may not do what it asks for."""

    def __init__(self, message: str) -> None:
        super().__init__(Code.FORBIDDEN, message)


@dataclass(frozen=True)
class Caller:
    """An authenticated caller.

    `name` is the user's, or one of RESERVED_NAMES. `token_id` names the token that was shown, and for a link the token
    that made it; None for the API_TOKEN and the command line. `expires` is when the token ends in Unix seconds; None if
    it does not. `media_id` is the only attachment that a link opens.
    """

    name: str
    role: Role
    scope: Scope = ALL_SESSIONS
    token_id: str | None = None
    expires: int | None = None
    media_id: str | None = None

    def may(self, permission: Permission) -> bool:
        """Whether the caller has this permission, for the sessions in its scope."""
        return permission in PERMISSIONS[self.role] and (self.scope.is_all or permission not in ACROSS_SESSIONS)

    def require(self, permission: Permission) -> None:
        """Returns if the caller has this permission.

        Raises:
            ForbiddenError: it has not; the message says which role or scope is missing.
        """
        if self.may(permission):
            return
        if permission in PERMISSIONS[self.role]:
            raise ForbiddenError(f"this token is limited to some sessions ({self.scope}); this concerns all sessions")
        roles = [role for role, permissions in PERMISSIONS.items() if permission in permissions and role != Role.LINK]
        raise ForbiddenError(f"the role {self.role} does not allow this: it needs {' or '.join(roles)}")

    def sees(self, record: Record) -> bool:
        """Whether the caller may see this attachment."""
        return self.sees_session(record.gateway, record.session) and self.media_id in {None, record.id}

    def sees_session(self, gateway: str, session: str) -> bool:
        """Whether the caller may see this session of this gateway."""
        return self.scope.includes(gateway, session)


API_TOKEN_CALLER = Caller(OF_API_TOKEN, Role.ADMIN)
ANONYMOUS = Caller(OF_ANONYMOUS, Role.LINK, NO_SESSIONS)  # without a token: may do nothing
