"""CORS: lets pages of the origins in SOCKET_ORIGINS call the API with a token."""

from __future__ import annotations

from collections.abc import Collection

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
REQUEST_HEADERS = ("Authorization", "Content-Type", "Range", "If-None-Match", "If-Modified-Since", "traceparent")
RESPONSE_HEADERS = (
    *("Accept-Ranges", "Content-Disposition", "Content-Length", "Content-Range", "ETag", "Location", "Retry-After"),
    *("WWW-Authenticate", "X-Attachment-Id"),
)
PREFLIGHT_S = 600  # how long a browser may keep the answer to a preflight
# Paths for browsers that are logged in, and Socket.IO, which checks origins itself.
CLOSED = ("/socket.io", "/dashboard", "/_nicegui", "/login", "/logout", "/preferences", "/docs")


class CrossOrigin:
    """ASGI middleware that answers preflights and marks responses of the API as readable for these origins.

    The API accepts a token in a header and no cookie, so credentials in the sense of CORS are never allowed: a page of
    another origin cannot use the login of the browser, and its own token is all it has.
    """

    def __init__(self, app: ASGIApp, origins: Collection[str]) -> None:
        self._app = app
        self._api = CORSMiddleware(
            app,
            allow_origins=frozenset(origins),
            allow_methods=METHODS,
            allow_headers=REQUEST_HEADERS,
            expose_headers=RESPONSE_HEADERS,
            max_age=PREFLIGHT_S,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request or connection on."""
        path = scope.get("path", "")
        closed = scope["type"] != "http" or path == "/" or path.startswith(CLOSED)
        await (self._app if closed else self._api)(scope, receive, send)
