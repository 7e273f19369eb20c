"""The changes of the dashboard's pages: permitted by the viewer's role, and recorded in the audit log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from actors.operations.audit import AuditEntry
from esteira.web.dashboard.view import View
from pipeline.catalogue import Action, Actor, Via
from pipeline.security.callers import ForbiddenError
from pipeline.security.roles import Permission

T = TypeVar("T")

PERMISSION_OF = {
    Action.REPLAY: Permission.REPLAY,
    Action.NEW_SOURCE: Permission.REPLAY,
    Action.CANCEL: Permission.CANCEL,
    Action.DELETE: Permission.DELETE,
    Action.PAUSE: Permission.PAUSE,
    Action.RESUME: Permission.PAUSE,
    Action.REDELIVER: Permission.SYSTEM_CONTROL,
}


def recorded(view: View, action: Action, target: Mapping[str, Any], work: Callable[[AuditEntry], T]) -> T:
    """Runs `work`, which changes something: its entry is written before, and completed after it. It blocks.

    Raises:
        ForbiddenError: the viewer may not do this; that is recorded too.
        RetryableError: `catalogue`: the entry cannot be written, and nothing was changed.
    """
    with entry_of(view, action) as entry:
        begin(view, entry, target)
        return work(entry)


def entry_of(view: View, action: Action) -> AuditEntry:
    """The entry of an action of this viewer, not begun yet."""
    caller = view.caller
    actor = Actor(who=caller.name, role=caller.role, token_id=caller.token_id, via=Via.DASHBOARD, source=view.address)
    return AuditEntry(actor, action)


def begin(view: View, entry: AuditEntry, target: Mapping[str, Any]) -> None:
    """Begins an entry, and checks the viewer's permission. Raises as `recorded` does."""
    entry.begin(target)
    try:
        view.caller.require(PERMISSION_OF[entry.action])
    except ForbiddenError as error:
        entry.complete(error)
        raise
