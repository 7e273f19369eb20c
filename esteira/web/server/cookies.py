"""Cookies that take long to parse are removed from requests."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

Headers = list[tuple[bytes, bytes]]


class PlainCookies:
    """ASGI middleware that removes cookies with a backslash: none of ours has one.

    Starlette unquotes every cookie with `http.cookies`, whose time grows with the square of the number of backslashes
    before Python 3.11.10 and 3.12.6 (CVE-2024-7592): 16 kB of them stopped all requests for a second.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request or connection on."""
        if any(name == b"cookie" and b"\\" in value for name, value in scope.get("headers", ())):
            scope = {**scope, "headers": plain_cookies(scope["headers"])}
        await self._app(scope, receive, send)


def plain_cookies(headers: Headers) -> Headers:
    """The headers without cookies that have a backslash."""
    return [(name, _without_backslashes(value) if name == b"cookie" else value) for name, value in headers]


def _without_backslashes(cookies: bytes) -> bytes:
    return b";".join(cookie for cookie in cookies.split(b";") if b"\\" not in cookie)
