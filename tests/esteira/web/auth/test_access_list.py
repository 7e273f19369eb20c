"""The copy of the users' tokens: what it accepts, when it notices a change, what it does without a catalogue."""

from __future__ import annotations

import pytest

from esteira.web.auth.access_list import MAX_AGE_S, USED_EVERY_MS, AccessList
from pipeline.catalogue.user_tokens import UserToken, UserTokens
from pipeline.errors import Code, RetryableError
from pipeline.security.callers import OF_SESSION_TOKEN, Caller
from pipeline.security.roles import Role
from pipeline.security.scopes import parse_scope
from pipeline.security.user_tokens import NewToken, PresentedToken, new_token, read_token
from tests.support.system import RunningSystem


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store(system: RunningSystem, monkeypatch: pytest.MonkeyPatch) -> UserTokens:
    monkeypatch.setattr("esteira.web.auth.access_list.services", lambda: system.services)
    return system.services.catalogue.user_tokens


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def access(store: UserTokens, clock: Clock) -> AccessList:
    access = AccessList(store.snapshot, monotonic=clock)
    access.refresh()
    return access


def add(store: UserTokens, name: str, **fields: int) -> NewToken:
    new = new_token()
    store.add(UserToken(new.id, name, Role.VIEWER, parse_scope(["waha:shop-*"]), new.secret_hash, 1, **fields))
    return new


def presented(token: NewToken) -> PresentedToken:
    parts = read_token(token.text)
    assert parts
    return parts


def test_token_is_found_after_a_refresh_and_not_after_it_is_revoked(store: UserTokens, access: AccessList) -> None:
    token = add(store, "ana")
    assert access.find(presented(token)) is None
    access.refresh()
    caller = access.find(presented(token))
    assert caller == Caller("ana", Role.VIEWER, parse_scope(["waha:shop-*"]), token_id=token.id)
    assert access.is_current(caller)
    assert store.revoke("ana") == [(token.id, "ana")]
    access.refresh()
    assert access.find(presented(token)) is None
    assert not access.is_current(caller)


def test_token_with_another_secret_or_an_earlier_expiry_is_not_found(store: UserTokens, access: AccessList) -> None:
    token, expired = add(store, "ana"), add(store, "bob", expires_at=2)
    access.refresh()
    other = read_token(f"est_{token.id}_{'x' * 43}")
    assert other
    assert access.find(other) is None
    assert access.find(presented(expired)) is None
    for text in ("", "est_", token.text[:-1], token.text + "x", token.text.upper(), f" {token.text}"):
        assert read_token(text) is None


def test_copy_is_valid_for_a_while_without_the_catalogue(
    store: UserTokens, access: AccessList, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = add(store, "ana")
    access.refresh()

    def fail() -> None:
        raise RetryableError(Code.CATALOGUE, "away")

    monkeypatch.setattr(access, "_load", fail)
    clock.now += MAX_AGE_S
    access.refresh()
    assert access.find(presented(token))
    clock.now += 1
    with pytest.raises(RetryableError, match="catalogue"):
        access.find(presented(token))


def test_use_of_a_token_is_noted_coarsely(store: UserTokens, access: AccessList) -> None:
    token = add(store, "ana")
    access.refresh()
    access.find(presented(token))
    access.refresh()
    access.refresh()
    [row] = store.all()
    assert row.used_at
    access.find(presented(token))
    access.refresh()
    assert store.all() == [row], f"it was noted less than {USED_EVERY_MS} ms ago"


def test_ended_session_token_and_login_end_in_other_processes(store: UserTokens, access: AccessList) -> None:
    other = AccessList(store.snapshot)
    caller = Caller(OF_SESSION_TOKEN, Role.VIEWER, token_id="ab" * 8)
    assert other.is_current(caller)
    access.end("session-token", "ab" * 8, until_s=2e9)
    assert not access.is_current(caller)
    access.refresh()
    assert not access.is_current(caller)
    other.refresh()
    assert not other.is_current(caller)


def test_caller_whose_user_token_is_gone_is_not_current(access: AccessList) -> None:
    assert not access.is_current(Caller("ana", Role.ADMIN, token_id="0123456789ab"))
    assert not access.is_current(Caller("ana", Role.ADMIN, token_id="ab" * 8, expires=1))
    assert access.is_current(Caller("api-token", Role.ADMIN))
