"""FastAPI dependencies that authenticate a request. OpenAPI lists their security schemes at each route."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query, Request, Security
from fastapi.security import APIKeyQuery, HTTPBearer

from esteira.web.auth.access import Authenticator, Caller
from esteira.web.auth.logins import logged_in

# `auto_error=False`: these two only document the scheme. The Authenticator checks the token and names the error.
TOKEN = HTTPBearer(scheme_name="token", description="The API_TOKEN, or a session token for reading.", auto_error=False)
LINK = APIKeyQuery(
    name="signature", scheme_name="link", description="A signed link also has `expires`.", auto_error=False
)


def authenticator_of(request: Request) -> Authenticator:
    """The Authenticator of the app that serves a request."""
    authenticator: Authenticator = request.app.state.authenticator
    return authenticator


async def _authenticate(request: Request, _token: Annotated[object, Security(TOKEN)]) -> Caller:
    return authenticator_of(request).authenticate(request)


async def _authenticate_content(
    request: Request,
    _token: Annotated[object, Security(TOKEN)],
    _link: Annotated[object, Security(LINK)],
    _expires: Annotated[str | None, Query(alias="expires", description="Unix seconds, part of a signed link.")] = None,
) -> Caller:
    return authenticator_of(request).authenticate_content(request)


async def _require_api_token(request: Request, _token: Annotated[object, Security(TOKEN)]) -> None:
    authenticator_of(request).require_api_token(request)


async def _require_reader(request: Request) -> None:
    if not logged_in(request):
        authenticator_of(request).authenticate(request)


TokenCaller = Annotated[Caller, Depends(_authenticate)]  # API_TOKEN or session token
ContentCaller = Annotated[Caller, Depends(_authenticate_content)]  # or a signed link
CallerRequired = Depends(_authenticate)  # the same, for a route's list of dependencies
ApiTokenRequired = Depends(_require_api_token)
ReaderRequired = Depends(_require_reader)  # any token, or a browser that is logged in to the dashboard
