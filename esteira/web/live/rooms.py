"""The Socket.IO rooms: a client is in the one room of its scope, and an event goes to the rooms that include it.

Room names are JSON, so that no session's name can make the name of another room.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from esteira.web.live.feed import Event
from pipeline.security.scopes import Scope

ALL_EVENTS = "everything"  # the room of callers that see all sessions


class Rooms:
    """The rooms of one process. Those of scopes with patterns or several sessions are matched one by one."""

    def __init__(self) -> None:
        self._matched: dict[str, Scope] = {}

    def keep(self, scopes: Iterable[Scope]) -> None:
        """Matches events with these scopes from now on, and no longer with others."""
        self._matched = {_name(scope): scope for scope in scopes if _is_matched(scope)}

    def open(self, scope: Scope) -> str:
        """The name of the scope's room, which events reach from now on."""
        if _is_matched(scope):
            self._matched[_name(scope)] = scope
        return _name(scope)

    def rooms_of(self, event: Event) -> list[str]:
        """The rooms whose clients may see the event."""
        rooms = [ALL_EVENTS, _session(event.gateway, event.session), _session(None, event.session)]
        return rooms + [name for name, scope in self._matched.items() if scope.includes(event.gateway, event.session)]


def _is_matched(scope: Scope) -> bool:
    return scope.patterns is not None and (len(scope.patterns) != 1 or scope.patterns[0].is_prefix)


def _name(scope: Scope) -> str:
    if scope.patterns is None:
        return ALL_EVENTS
    if _is_matched(scope):
        return json.dumps(["scope", *scope.texts()])
    return _session(scope.patterns[0].gateway, scope.patterns[0].name)


def _session(gateway: str | None, session: str) -> str:
    return json.dumps(["session", gateway, session])
