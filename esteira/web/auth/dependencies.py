"""FastAPI dependencies that authenticate a request and check its caller's permission.

Every route declares the permission that it needs, either with `requires` or with one of the aliases below. OpenAPI
lists the security schemes at each route.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import cache
from typing import Annotated, Any

from fastapi import Depends, Query, Request, Security
from fastapi.security import APIKeyQuery, HTTPBearer

from esteira.web.auth.access import Authenticator
from esteira.web.auth.audited import record_refusal
from esteira.web.auth.logins import logged_in
from pipeline.security.callers import Caller
from pipeline.security.roles import Permission

# `auto_error=False`: these two only document the scheme. The Authenticator checks the token and names the error.
TOKEN = HTTPBearer(
    scheme_name="token",
    description="The API_TOKEN, a user's token (`esteira users add`), or a session's token for reading.",
    auto_error=False,
)
LINK = APIKeyQuery(
    name="signature", scheme_name="link", description="A signed link also has `expires`.", auto_error=False
)


def authenticator_of(request: Request) -> Authenticator:
    """The Authenticator of the app that serves a request."""
    authenticator: Authenticator = request.app.state.authenticator
    return authenticator


class Requires:
    """A dependency: the caller of the request's token, if it has a permission. Its calls at the same time are limited.

    Raises:
        UnauthorizedError: the token is missing or wrong.
        ForbiddenError: the caller may not do this.
        RetryableError: `too_many_requests`: the token has too many calls that are not answered.
    """

    def __init__(self, permission: Permission) -> None:
        self.permission = permission

    async def __call__(
        self, request: Request, _token: Annotated[object, Security(TOKEN)]
    ) -> AsyncIterator[Caller | None]:
        """Yields the caller, until the response is written."""
        caller = await authenticator_of(request).authenticate(request)
        with authenticator_of(request).running_calls.slot(caller):
            if not caller.may(self.permission):
                await record_refusal(request, caller)
            caller.require(self.permission)
            yield caller


class RequiresToken:
    """A dependency: the caller of the request's token, whatever it may do."""

    async def __call__(self, request: Request, _token: Annotated[object, Security(TOKEN)]) -> Caller:
        return await authenticator_of(request).authenticate(request)


class RequiresContent(Requires):
    """The same for the content of one attachment, which a signed link opens too. Downloads have limits of their own."""

    async def __call__(  # type: ignore[override]
        self,
        request: Request,
        _token: Annotated[object, Security(TOKEN)],
        _link: Annotated[object, Security(LINK)] = None,
        _expires: Annotated[str | None, Query(alias="expires", description="Unix seconds, part of a link.")] = None,
        _by: Annotated[str | None, Query(alias="by", description="The id of the token that made a link.")] = None,
    ) -> Caller:
        caller = await authenticator_of(request).authenticate_content(request)
        caller.require(self.permission)
        return caller


class RequiresReader(Requires):
    """The same for what a browser that is logged in to the dashboard may read too."""

    async def __call__(
        self, request: Request, _token: Annotated[object, Security(TOKEN)]
    ) -> AsyncIterator[Caller | None]:
        """Yields the caller; None for a browser."""
        if logged_in(request):
            yield None
            return
        async for caller in super().__call__(request, _token):
            yield caller


@cache
def requires(permission: Permission) -> Requires:
    """The dependency for a permission, the same object each time, so that FastAPI calls it once for a request."""
    return Requires(permission)


def needs(permission: Permission) -> Any:
    """The same for a route's list of dependencies."""
    return Depends(requires(permission))


AnyCaller = Annotated[Caller, Depends(RequiresToken())]
Reader = Annotated[Caller, Depends(requires(Permission.READ))]
Replayer = Annotated[Caller, Depends(requires(Permission.REPLAY))]
Canceller = Annotated[Caller, Depends(requires(Permission.CANCEL))]
Pauser = Annotated[Caller, Depends(requires(Permission.PAUSE))]
Deleter = Annotated[Caller, Depends(requires(Permission.DELETE))]
SystemReader = Annotated[Caller, Depends(requires(Permission.SYSTEM))]
SystemController = Annotated[Caller, Depends(requires(Permission.SYSTEM_CONTROL))]
ContentCaller = Annotated[Caller, Depends(RequiresContent(Permission.CONTENT))]
DocsReader = Depends(RequiresReader(Permission.DOCS))  # for a route's list of dependencies
