"""Rooms of live events: an event reaches the clients whose scope includes its session, and no other."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from esteira.web.live.feed import Event
from esteira.web.live.rooms import ALL_EVENTS, Rooms
from pipeline.security.scopes import ALL_SESSIONS, Scope, SessionPattern, one_session

names = st.text(alphabet='ab"[],:*\\', min_size=1, max_size=4)
scopes = st.lists(st.builds(SessionPattern, st.none() | names, names, st.booleans()), max_size=3).map(
    lambda patterns: Scope(tuple(patterns))
)


def event(gateway: str, session: str) -> Event:
    return Event("1", "media.done", session, gateway, {})


@given(scopes, names, names)
def test_event_reaches_a_room_only_if_its_scope_includes_the_session(scope: Scope, gateway: str, session: str) -> None:
    rooms = Rooms()
    reached = rooms.open(scope) in rooms.rooms_of(event(gateway, session))
    assert reached is scope.includes(gateway, session)
    rooms.keep([scope])
    assert (rooms.open(scope) in rooms.rooms_of(event(gateway, session))) is reached


def test_event_of_an_older_version_names_no_gateway_and_reaches_no_single_gateway() -> None:
    rooms = Rooms()
    reached = rooms.rooms_of(event("", "shop"))
    assert ALL_EVENTS in reached
    assert rooms.open(one_session(None, "shop")) in reached
    assert rooms.open(one_session("waha", "shop")) not in reached
    assert rooms.open(ALL_SESSIONS) == ALL_EVENTS
