"""One token cannot use all threads and connections."""

from __future__ import annotations

import contextlib
import time

import pytest
from pydantic import SecretStr

from esteira.web.auth.running_calls import MAX_CALLS, RunningCalls
from pipeline.errors import Code, RetryableError
from pipeline.security.callers import API_TOKEN_CALLER, Caller
from pipeline.security.roles import Role
from pipeline.security.tokens import TokenSigner
from tests.esteira.web.server.test_strangers import ANSWER_S, GOOD, answer_on, head, opened, status_and_code
from tests.support.system import RunningSystem
from tests.support.web_server import TOKEN, web_server

FIRST, SECOND = (Caller(name, Role.VIEWER, token_id=f"{number:012x}") for number, name in enumerate("ab"))


def test_each_token_has_its_own_calls() -> None:
    calls = RunningCalls()
    with contextlib.ExitStack() as stack:
        for _ in range(MAX_CALLS):
            stack.enter_context(calls.slot(FIRST))
        with pytest.raises(RetryableError) as raised, calls.slot(FIRST):
            pass
        assert raised.value.code is Code.TOO_MANY_REQUESTS
        with calls.slot(SECOND):
            pass
    with calls.slot(FIRST):
        pass


def test_api_token_is_not_limited() -> None:
    calls = RunningCalls()
    with contextlib.ExitStack() as stack:
        for _ in range(10 * MAX_CALLS):
            stack.enter_context(calls.slot(API_TOKEN_CALLER))


def test_stalled_bodies_of_a_session_token_leave_room_for_hooks(system: RunningSystem) -> None:
    token = TokenSigner(SecretStr(TOKEN)).session_token("s", gateway="media", days=1)
    stalled = head("POST", "/media/x/link", f"Authorization: Bearer {token}\r\n", length=1000)
    with web_server(system) as server, opened(server, stalled, count=3 * MAX_CALLS) as connections:
        time.sleep(0.5)
        began = time.monotonic()
        posted = server.post_media({**GOOD, "message_id": "1"})
        assert posted.status == 202
        assert time.monotonic() - began < ANSWER_S
        answers = [answer_on(connection, within_s=15) for connection in connections]
    found = [status_and_code(answer) for answer in answers]
    assert found.count((429, "too_many_requests")) == 2 * MAX_CALLS
    assert found.count((408, "bad_payload")) == MAX_CALLS


def test_calls_are_counted_until_they_are_answered(system: RunningSystem) -> None:
    token = TokenSigner(SecretStr(TOKEN)).session_token("s", gateway="media", days=1)
    with web_server(system) as server:
        headers = {"Authorization": f"Bearer {token}"}
        statuses = {server.request("GET", path, headers=headers).status for path in ["/media"] * 3 * MAX_CALLS}
        refused = {server.request("GET", "/stats", headers=headers).status for _ in range(2 * MAX_CALLS)}
    assert (statuses, refused) == ({200}, {403})
