"""What a caller may do with pauses, which name a session without its gateway.

A pause holds the sessions with its name of all gateways. So a caller that is limited to some sessions sees and changes
it only if all of them are in its scope.
"""

from __future__ import annotations

from actors.operations.pause import pauses
from pipeline.catalogue import Pause, PauseKind
from pipeline.security.callers import Caller, ForbiddenError
from pipeline.security.roles import Permission
from pipeline.services import services


def owns_session(caller: Caller, name: str) -> bool:
    """Whether all sessions with this name are in the caller's scope.

    Raises:
        RetryableError: `catalogue`.
    """
    scope = caller.scope
    if scope.includes_name(name, ()):  # whatever gateways have it
        return True
    return scope.mentions(name) and scope.includes_name(name, services().catalogue.sessions.gateways_of(name))


def require_control(caller: Caller, kind: PauseKind, name: str) -> None:
    """Returns if the caller may pause and resume this stage or session.

    Raises:
        ForbiddenError: it may not.
        RetryableError: `catalogue`.
    """
    caller.require(Permission.SYSTEM_CONTROL if kind == "stage" else Permission.PAUSE)
    if kind == "session" and not owns_session(caller, name):
        raise ForbiddenError(
            "this token may pause only sessions in its scope that no other gateway has: see GET /whoami"
        )


def visible_pauses(caller: Caller) -> list[Pause]:
    """The paused stages, and the paused sessions that the caller may see.

    Raises:
        RetryableError: `catalogue`.
    """
    return [pause for pause in pauses() if pause.kind == "stage" or owns_session(caller, pause.name)]
