"""The audit entries of HTTP routes: a decorator for every route that changes something."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from actors.operations.audit import AuditEntry, record
from esteira.web.server.client_addresses import client_address
from pipeline.catalogue import Action, Actor, AuditOutcome, Via
from pipeline.security.callers import ANONYMOUS, Caller

Endpoint = Callable[..., Any]
# What a call selects, from the values of its parameters; None for a call that changes nothing, such as a dry run.
Target = Callable[[Mapping[str, Any]], Mapping[str, Any] | None]
# The same for a refused call, from its request.
RefusedTarget = Callable[[Request], Awaitable[Mapping[str, Any]]]

ENTRY = "entry"
REQUEST = "request"


def by_id(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """The target of a route with `{media_id}` in its path."""
    return {"id": values["media_id"]}


def audited(
    action: Action,
    target: Target,
    *,
    variant: Callable[[Mapping[str, Any]], Action | None] = lambda _: None,
    refused_target: RefusedTarget | None = None,
) -> Callable[[Endpoint], Endpoint]:
    """Decorates a route that changes something: its entry is written before the endpoint runs, and completed after it.

    The endpoint is no coroutine, because both are written to the catalogue. One of its parameters is the Caller, and it
    may have a parameter `entry`. `variant` returns the action for calls that are recorded under another one,
    `refused_target` what a refused call selected, if that is not the id in its path.
    """

    def decorate(endpoint: Endpoint) -> Endpoint:
        assert not inspect.iscoroutinefunction(endpoint)
        hidden = {ENTRY, REQUEST} - inspect.signature(endpoint).parameters.keys()

        @functools.wraps(endpoint)
        def run(**values: Any) -> Any:
            [caller] = [value for value in values.values() if isinstance(value, Caller)]
            with AuditEntry(actor_of(caller, values[REQUEST], via=Via.API), action) as entry:
                if (selected := target(values)) is not None:
                    entry.begin(selected, action=variant(values))
                given = {**values, ENTRY: entry}
                return endpoint(**{name: value for name, value in given.items() if name not in hidden})

        run.__signature__ = _signature(endpoint)  # type: ignore[attr-defined]
        run.audited_action = action  # type: ignore[attr-defined]
        run.refused_target = refused_target  # type: ignore[attr-defined]
        return run

    return decorate


async def record_refusal(request: Request, caller: Caller) -> None:
    """Records that a caller may not use a route that changes something. Other routes leave no entry."""
    endpoint = request.scope.get("endpoint")
    action = getattr(endpoint, "audited_action", None)
    if action is None:
        return
    target: Mapping[str, Any] = {"id": request.path_params["media_id"]} if "media_id" in request.path_params else {}
    if refused_target := getattr(endpoint, "refused_target", None):
        target = await refused_target(request)
    actor = actor_of(caller, request, via=Via.API)
    await run_in_threadpool(record, actor, action, outcome=AuditOutcome.REFUSED, target=target)


async def record_login(
    request: Request, action: Action, caller: Caller, target: Mapping[str, Any] | None = None
) -> None:
    """Records a login or a logout; a login with a wrong token has the caller ANONYMOUS and is recorded as refused."""
    outcome = AuditOutcome.REFUSED if caller is ANONYMOUS else AuditOutcome.DONE
    await run_in_threadpool(
        record, actor_of(caller, request, via=Via.DASHBOARD), action, outcome=outcome, target=target
    )


def _signature(endpoint: Endpoint) -> inspect.Signature:
    """The parameters that FastAPI passes: those of the endpoint without the entry, and the request in any case."""
    signature = inspect.signature(endpoint)
    parameters = {name: parameter for name, parameter in signature.parameters.items() if name != ENTRY}
    parameters.setdefault(REQUEST, inspect.Parameter(REQUEST, inspect.Parameter.KEYWORD_ONLY, annotation=Request))
    return signature.replace(parameters=list(parameters.values()))


def actor_of(caller: Caller, connection: HTTPConnection, *, via: Via) -> Actor:
    """Who acts through a connection, as the audit log has it."""
    role = None if caller is ANONYMOUS else caller.role.value
    return Actor(who=caller.name, role=role, token_id=caller.token_id, via=via, source=client_address(connection))
