"""Browser logins: signed, limited in time, and ended for all processes."""

from __future__ import annotations

import pytest
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import Response

from esteira.web.auth.access_list import MAX_AGE_S, AccessList
from esteira.web.auth.logins import COOKIE, Logins, build_logins, is_https, is_same_origin
from pipeline.catalogue.user_tokens import AccessSnapshot, Ended, UserToken, subject
from pipeline.config.settings import Settings
from pipeline.errors import SettingsError
from pipeline.security.callers import API_TOKEN_CALLER, Caller
from pipeline.security.roles import Role
from pipeline.security.scopes import ALL_SESSIONS
from pipeline.security.tokens import LOGIN_LIFETIME_S

TOKEN = "a token of the tests"
START_MS = 1_700_000_000_000
ANA = Caller("ana", Role.OPERATOR, token_id="0123456789ab")


class Clock:
    def __init__(self) -> None:
        self.now = START_MS / 1000

    def __call__(self) -> float:
        return self.now


class Processes:
    """The copies of two web processes of one catalogue, which is a dictionary here."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.ended: dict[str, Ended] = {}
        self.revoked_at: int | None = None

    def snapshot(self) -> AccessSnapshot:
        token = UserToken("0123456789ab", "ana", Role.OPERATOR, ALL_SESSIONS, "", START_MS, None, self.revoked_at)
        return AccessSnapshot({token.id: token}, dict(self.ended))

    def logins(self, *, refreshed: bool = True) -> Logins:
        access = StoredAccess(self)
        if refreshed:
            access.refresh()
        return Logins(settings(), access, clock=self.clock)


class StoredAccess(AccessList):
    def __init__(self, processes: Processes) -> None:
        super().__init__(processes.snapshot, clock=processes.clock, monotonic=processes.clock)
        self._processes = processes

    def _write(self) -> dict[str, Ended]:
        self._processes.ended |= self._unwritten
        return dict(self._unwritten)


def settings(token: str | None = TOKEN) -> Settings:
    return Settings.model_construct(api_token=SecretStr(token) if token is not None else None)


def request(**headers: str) -> Request:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "headers": raw, "scheme": "http", "path": "/", "server": ("h", 80)})


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def processes(clock: Clock) -> Processes:
    return Processes(clock)


@pytest.fixture
def logins(processes: Processes) -> Logins:
    return processes.logins()


def logged_in(logins: Logins, caller: Caller = API_TOKEN_CALLER, *, secure: bool = False) -> tuple[str, str]:
    """The login in a response, and its Set-Cookie header."""
    answer = Response()
    logins.log_in(answer, caller, secure=secure)
    cookie = answer.headers["set-cookie"]
    return cookie.partition("=")[2].partition(";")[0], cookie


def test_cookie_is_http_only_and_same_site(logins: Logins) -> None:
    _, cookie = logged_in(logins)
    assert {"HttpOnly", "SameSite=strict", "Path=/", f"Max-Age={LOGIN_LIFETIME_S}"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    assert "Secure" in logged_in(logins, secure=True)[1]
    assert TOKEN not in cookie


def test_login_is_valid_until_it_expires(logins: Logins, clock: Clock) -> None:
    login, _ = logged_in(logins)
    assert logins.login_of(request(cookie=f"{COOKIE}={login}")) == login
    clock.now += LOGIN_LIFETIME_S - 1
    assert logins.caller_of(login) == API_TOKEN_CALLER
    clock.now += 1
    assert not logins.is_valid(login)


def test_log_out_ends_one_login_in_all_processes_and_after_a_restart(processes: Processes) -> None:
    here, there = processes.logins(), processes.logins()
    (one, _), (other, _) = logged_in(here), logged_in(here)
    assert one != other
    assert there.is_valid(one)
    answer = Response()
    here.log_out(one, answer)
    assert 'esteira_login=""' in answer.headers["set-cookie"]
    assert [here.is_valid(one), here.is_valid(other)] == [False, True]
    for logins in (here, there):
        logins._access.refresh()
    assert [logins.is_valid(one) for logins in (here, there, processes.logins())] == [False] * 3
    assert there.is_valid(other)


def test_log_out_everywhere_ends_all_logins_of_its_user_only(processes: Processes, clock: Clock) -> None:
    logins = processes.logins()
    mine = [logged_in(logins, ANA)[0] for _ in range(3)]
    admins, _ = logged_in(logins)
    logins.log_out(mine[0], Response(), everywhere=True)
    assert [logins.is_valid(login) for login in mine] == [False] * 3
    assert logins.is_valid(admins)
    clock.now += 1
    assert logins.is_valid(logged_in(logins, ANA)[0])


def test_login_ends_with_its_users_token(processes: Processes, clock: Clock) -> None:
    logins = processes.logins()
    login, _ = logged_in(logins, ANA)
    caller = logins.caller_of(login)
    assert caller
    assert (caller.name, caller.role, caller.token_id) == ("ana", Role.OPERATOR, ANA.token_id)
    processes.revoked_at = int(clock.now * 1000)
    logins._access.refresh()
    assert not logins.is_valid(login)


def test_rotation_ends_logins_that_began_before(processes: Processes, clock: Clock) -> None:
    logins = processes.logins()
    login, _ = logged_in(logins, ANA)
    clock.now += 1
    at = int(clock.now * 1000)
    processes.ended[subject("logins-of", "ana")] = Ended(at, at + 1000)
    logins._access.refresh()
    assert not logins.is_valid(login)


def test_user_login_is_not_valid_while_the_copy_is_too_old(logins: Logins, clock: Clock) -> None:
    (users, _), (admins, _) = logged_in(logins, ANA), logged_in(logins)
    clock.now += MAX_AGE_S + 1
    assert [logins.is_valid(users), logins.is_valid(admins)] == [False, True]


def test_login_from_before_a_restart_waits_for_the_catalogue(processes: Processes, clock: Clock) -> None:
    login, _ = logged_in(processes.logins())
    clock.now += 1
    restarted = processes.logins(refreshed=False)
    assert not restarted.is_valid(login)
    assert restarted.is_valid(logged_in(restarted)[0])
    restarted._access.refresh()
    assert restarted.is_valid(login)


def test_new_api_token_ends_all_logins(logins: Logins, clock: Clock) -> None:
    login, _ = logged_in(logins)
    assert Logins(settings(), logins._access, clock=clock).is_valid(login)
    assert not Logins(settings("quite another token"), logins._access, clock=clock).is_valid(login)


def test_forged_login_is_invalid(logins: Logins) -> None:
    login, _ = logged_in(logins)
    began, name, token_id, signature = login.split(".")
    flipped = signature[:-1] + ("0" if signature[-1] != "0" else "1")
    for forged in (
        f"{int(began) + 1}.{name}.{token_id}.{signature}",
        f"{began}.{name}.0123456789ab.{signature}",
        f"{began}.{name}.{token_id}.{flipped}",
        f"{login} ",
        f"{login}.",
        "",
        "a.b.c",
        "é",
    ):
        assert not logins.is_valid(forged)
    assert logins.login_of(request()) is None
    assert logins.login_of(request(cookie=f"{COOKIE}=; other=1")) is None


def test_logins_need_a_long_api_token(logins: Logins) -> None:
    access = logins._access
    assert build_logins(settings(), access) is not None
    assert build_logins(settings(None), access) is None
    with pytest.raises(SettingsError, match="API_TOKEN"):
        Logins(settings(""), access)


@pytest.mark.parametrize(
    ("headers", "same"),
    [
        ({"host": "h:8000", "origin": "http://h:8000"}, True),
        ({"host": "h", "origin": "https://h"}, True),
        ({"host": "h:8000", "origin": "http://h:9000"}, False),
        ({"host": "h", "origin": "http://evil.example"}, False),
        ({"host": "h", "origin": "null"}, False),
        ({"host": "", "origin": "null"}, False),
        ({"host": "h", "sec_fetch_site": "same-origin"}, True),
        ({"host": "h", "sec_fetch_site": "cross-site"}, False),
        ({"host": "h", "sec_fetch_site": "same-site"}, False),
        ({"host": "h"}, True),
    ],
)
def test_is_same_origin_compares_origin_and_host(headers: dict[str, str], same: bool) -> None:
    assert is_same_origin(request(**headers)) is same


def test_is_https_trusts_the_proxy_header() -> None:
    assert not is_https(request())
    assert is_https(request(x_forwarded_proto="https"))
    assert not is_https(request(x_forwarded_proto="http"))
