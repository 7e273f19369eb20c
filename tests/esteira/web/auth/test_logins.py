"""Browser logins: signed, limited in time, and protected against guessing."""

from __future__ import annotations

import pytest
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import Response

from esteira.web.auth.logins import (
    COOKIE,
    LOGIN_LIFETIME_S,
    MAX_FAILURES_PER_ADDRESS,
    MAX_FAILURES_TOTAL,
    WINDOW_S,
    Logins,
    build_logins,
    is_https,
    is_same_origin,
)
from pipeline.config.settings import Settings
from pipeline.errors import SettingsError

TOKEN = "a token of the tests"


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


def settings(token: str | None = TOKEN) -> Settings:
    return Settings.model_construct(api_token=SecretStr(token) if token is not None else None)


def request(**headers: str) -> Request:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "headers": raw, "scheme": "http", "path": "/", "server": ("h", 80)})


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def logins(clock: Clock) -> Logins:
    return Logins(settings(), clock=clock)


def logged_in(logins: Logins, *, secure: bool = False) -> tuple[str, str]:
    """The login in a response, and its Set-Cookie header."""
    answer = Response()
    logins.log_in(answer, secure=secure)
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
    assert logins.is_valid(login)
    clock.now += 1
    assert not logins.is_valid(login)


def test_log_out_ends_only_one_login(logins: Logins) -> None:
    (one, _), (other, _) = logged_in(logins), logged_in(logins)
    assert one != other
    answer = Response()
    logins.log_out(one, answer)
    assert not logins.is_valid(one)
    assert logins.is_valid(other)
    assert 'esteira_login=""' in answer.headers["set-cookie"]


def test_new_api_token_ends_all_logins(logins: Logins, clock: Clock) -> None:
    login, _ = logged_in(logins)
    assert Logins(settings(), clock=clock).is_valid(login)
    assert not Logins(settings("quite another token"), clock=clock).is_valid(login)


def test_forged_login_is_invalid(logins: Logins) -> None:
    login, _ = logged_in(logins)
    expiry, name, signature = login.split(".")
    later = str(int(expiry) + 1)
    flipped = signature[:-1] + ("0" if signature[-1] != "0" else "1")
    for forged in (
        f"{later}.{name}.{signature}",
        f"{expiry}.{name}.{flipped}",
        f"{login} ",
        f"{login}.",
        "",
        "a.b.c",
        "é",
    ):
        assert not logins.is_valid(forged)
    assert logins.login_of(request()) is None
    assert logins.login_of(request(cookie=f"{COOKIE}=; other=1")) is None


def test_logins_need_a_long_api_token() -> None:
    assert build_logins(settings()) is not None
    assert build_logins(settings(None)) is None
    assert build_logins(settings("short")) is None
    with pytest.raises(SettingsError, match="API_TOKEN"):
        Logins(settings(""))


def test_address_is_locked_out_after_five_wrong_tokens(logins: Logins, clock: Clock) -> None:
    for _ in range(MAX_FAILURES_PER_ADDRESS):
        assert logins.lockout_s("192.0.2.1") == 0
        logins.record_failure("192.0.2.1")
        clock.now += 1
    assert logins.lockout_s("192.0.2.1") == WINDOW_S - MAX_FAILURES_PER_ADDRESS
    assert logins.lockout_s("192.0.2.2") == 0
    clock.now += WINDOW_S - MAX_FAILURES_PER_ADDRESS
    assert logins.lockout_s("192.0.2.1") == 0


def test_all_addresses_are_locked_out_after_thirty_wrong_tokens(logins: Logins, clock: Clock) -> None:
    for number in range(MAX_FAILURES_TOTAL):
        logins.record_failure(f"192.0.2.{number}")
    assert logins.lockout_s("198.51.100.1") == WINDOW_S
    clock.now += WINDOW_S
    assert logins.lockout_s("198.51.100.1") == 0


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
