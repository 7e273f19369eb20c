"""`/docs`: the API as a page, for who is logged in to the dashboard or shows a token."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from esteira.web.api.reference import POLICY, page
from esteira.web.api.schema import Schema
from esteira.web.auth.logins import login_path
from esteira.web.dashboard.headers import GUARDS
from pipeline.gateways import UnauthorizedError

PATH = "/docs"


class Docs:
    """The page. It asks for nothing further: no script, no picture, no other address."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema

    def add_routes(self, app: FastAPI) -> None:
        app.get(PATH, include_in_schema=False)(self.answer)

    async def answer(self, request: Request) -> Response:
        """The page; a browser that is not logged in is sent to the login if there is one."""
        headers = {**GUARDS, "Cache-Control": "no-store"}
        try:
            self._schema.authenticate(request)
        except UnauthorizedError:
            if not _can_log_in(request):
                raise
            return RedirectResponse(login_path(PATH), 303, headers=headers)
        address = f"{request.url.scheme}://{request.url.netloc}"
        shown = page(self._schema.described(), address=address)
        return HTMLResponse(shown, headers={**headers, "Content-Security-Policy": POLICY})


def _can_log_in(request: Request) -> bool:
    asks_as_browser = "text/html" in request.headers.get("accept", "") and "authorization" not in request.headers
    return asks_as_browser and getattr(request.app.state, "logins", None) is not None
