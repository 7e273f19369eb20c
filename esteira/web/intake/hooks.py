"""The hooks: gateways send their webhooks here, and attachments are accepted from them.

The order matters for security: the sender's secret is verified before the body is read; the body is read within limits;
a signature is verified over the raw bytes; and only then the body is decoded, parsed, counted and accepted.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Protocol

import anyio.to_thread
import structlog
from anyio import CapacityLimiter
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from actors.observability.sentry import report_error
from actors.observability.tracing import CALLER_TRACEPARENT
from esteira.web.auth.access import Authenticator, HookAccess, request_headers
from esteira.web.auth.local_requests import is_local_request
from esteira.web.errors import error_response, status_of
from esteira.web.intake.acceptance import Acceptance, HookReply
from esteira.web.intake.background import BackgroundRunner
from esteira.web.intake.bodies import BodyReader, Terms
from esteira.web.intake.form_attachments import UploadedAttachment, form_attachments
from esteira.web.intake.form_parser import is_form
from esteira.web.intake.hook_descriptions import CHALLENGE, RESULT, description
from esteira.web.intake.ignored_counts import WebIgnoredCounter
from esteira.web.intake.result_waits import ResultWaits, WaitTerms, wait_terms
from esteira.web.intake.strict_json import decode
from esteira.web.intake.uploads import UploadedForm, Uploads
from pipeline.config.settings import Settings
from pipeline.errors import Code, PayloadError, PipelineError
from pipeline.gateways import GATEWAYS, Gateway, HookRequest, ParsedPayload
from pipeline.gateways.intake import check_identifiers
from pipeline.gateways.verification import constant_time_equal
from pipeline.metrics import HOOK_SECONDS
from pipeline.models import Record
from pipeline.security.callers import Caller
from pipeline.security.roles import Permission

SHUTDOWN_WAIT_S = 10.0  # for attachments that are processed in the background; workers continue the others
THREADS = 40  # of their own, so that hooks do not wait for slow calls of the API

log = structlog.get_logger(__name__)


class ResultResponses(Protocol):
    """Makes the answers to requests that have waited, which look like those of the API."""

    def record_response(self, record: Record) -> Response:
        """The record."""

    def content_response(self, request: Request, caller: Caller, record: Record) -> Response:
        """The content, or why there is none."""


class Hooks:
    """The hook routes and the state that they share in one process."""

    def __init__(self, settings: Settings, authenticator: Authenticator, results: ResultResponses) -> None:
        self.settings = settings
        self.authenticator = authenticator
        self._results = results
        self._waits = ResultWaits()
        self.bodies = BodyReader(settings)
        self.ignored = WebIgnoredCounter()
        self.uploads = Uploads(settings)
        self._background = BackgroundRunner()
        self._acceptance = Acceptance(settings, self.ignored, self._background)
        self._threads = CapacityLimiter(THREADS)

    def add_routes(self, app: FastAPI) -> None:
        """Adds the routes to the app itself: an included router takes another 15 µs per request."""
        app.get(
            "/hooks/cloud",
            summary="Answer Meta's challenge",
            tags=["intake"],
            response_class=PlainTextResponse,
            openapi_extra=CHALLENGE,
        )(self.answer_challenge)
        for path, names in (
            ("/hooks/{gateway}", ["gateway"]),
            ("/hooks/{gateway}/{secret:path}", ["gateway", "secret"]),
        ):
            app.post(
                path,
                status_code=202,
                summary="Hand over attachments",
                tags=["intake"],
                response_model=HookReply,
                responses=RESULT,
                openapi_extra=description(names),
            )(self.receive)

    async def receive(self, request: Request) -> Response:
        """Accepts what a gateway sends. 202: every attachment in it is written to disk.

        With `wait`, `media` answers 200 with the finished record, or with `content=1` the bytes (422: it was refused);
        202 if the time is over.

        The gateway shows its own secret or signature; `media`, the generic hook, the API_TOKEN or the
        token of a user who may hand over. See docs/gateways.md.
        """
        name = request.path_params["gateway"]
        gateway = GATEWAYS.get(name)
        if gateway is None:
            raise HTTPException(404, f"there is no hook of this name, only {', '.join(sorted(GATEWAYS))}")
        CALLER_TRACEPARENT.set(request.headers.get("traceparent"))
        with _timed(name):
            head = HookRequest(request_headers(request), request.path_params.get("secret") or None)
            local = self.settings.allow_unsigned_hooks and is_local_request(request)  # which takes 25 µs
            access = await self.authenticator.verify_hook(gateway, head, request, local=local)
            wait = _wait_terms(name, request, access.caller) if request.scope["query_string"] else None
            reply = await self._receive_body(request, gateway, access, single=wait is not None)
        if wait is None:
            return JSONResponse(reply, status_code=202)
        return await self._result(request, access.caller, reply, wait)

    async def _receive_body(
        self, request: Request, gateway: Gateway, access: HookAccess, *, single: bool
    ) -> dict[str, Any]:
        """Accepts what the body holds; returns the reply. Afterwards nothing refers to the body: requests may wait."""
        if gateway is GATEWAYS["media"] and is_form(request.headers.get("content-type", "")):
            async with self.uploads.read_form(request, token_id=access.caller.token_id) as form:
                accept = partial(self._accept_form, form, access, single=single)
                return await anyio.to_thread.run_sync(accept, limiter=self._threads)
        terms = Terms(request.path_params["gateway"], verified=access.check_body is None)
        async with self.bodies.read_body(request, terms) as body:
            accept = partial(self._accept, gateway, body, access, single=single)
            return await anyio.to_thread.run_sync(accept, limiter=self._threads)

    async def _result(self, request: Request, caller: Caller, reply: dict[str, Any], wait: WaitTerms) -> Response:
        """The answer to a request that waits."""
        if not reply["accepted"]:  # a rule ignores it, so nothing will come
            if wait.content:
                return error_response(422, Code.BAD_PAYLOAD, "a rule of INTAKE_RULES ignores it", {})
            return JSONResponse(reply)
        [accepted] = reply["accepted"]
        record = await self._waits.wait(accepted["id"], request, caller, seconds=wait.seconds)
        if record is None:
            return JSONResponse(reply, status_code=202, headers={"X-Attachment-Id": accepted["id"]})
        if wait.content:
            return await run_in_threadpool(self._results.content_response, request, caller, record)
        return await run_in_threadpool(self._results.record_response, record)

    async def answer_challenge(self, request: Request) -> PlainTextResponse:
        """Answers the challenge with which Meta checks a new webhook address."""
        query, expected = request.query_params, self.settings.cloud_verify_token
        token = query.get("hub.verify_token", "")
        if expected is None:
            self.authenticator.warn_missing_secret("CLOUD_VERIFY_TOKEN")
            refusal = "CLOUD_VERIFY_TOKEN is not set on this server: set it, and restart the server"
        elif not token:
            refusal = "hub.verify_token is missing: it has to be the CLOUD_VERIFY_TOKEN of this server"
        elif not constant_time_equal(token, expected.get_secret_value()):
            refusal = "wrong hub.verify_token: it is not the CLOUD_VERIFY_TOKEN of this server"
        elif query.get("hub.mode") != "subscribe":
            refusal = "hub.mode is not subscribe"
        else:
            headers = {"X-Content-Type-Options": "nosniff"}
            return PlainTextResponse(query.get("hub.challenge", ""), headers=headers)
        if token:
            self.authenticator.record_failure(request)
        raise HTTPException(403, refusal)

    def prepare(self) -> None:
        """Connects to Redis and the catalogue before the first request. Requests report what fails here."""
        with suppress(PipelineError):
            self._acceptance.connect()

    def close(self) -> None:
        """Waits SHUTDOWN_WAIT_S for attachments in the background, and writes the count of ignored messages."""
        self._background.close(within_s=SHUTDOWN_WAIT_S)
        self._acceptance.close()
        self.ignored.flush()

    def _accept(self, gateway: Gateway, body: bytes, access: HookAccess, *, single: bool) -> dict[str, Any]:
        if access.check_body is not None:
            access.check_body(body)
        parsed = _parse(gateway, decode(body), self.settings)
        given = [UploadedAttachment(attachment, None) for attachment in parsed.attachments]
        return self._acceptance.accept(given, access.caller, ignored=parsed.ignored, single=single)

    def _accept_form(self, form: UploadedForm, access: HookAccess, *, single: bool) -> dict[str, Any]:
        given = form_attachments(form, self.settings)
        return self._acceptance.accept(given, access.caller, ignored=0, single=single)


def _wait_terms(gateway: str, request: Request, caller: Caller) -> WaitTerms | None:
    """How long a request waits; None for one that does not. Only the generic hook waits: gateways have timeouts.

    Raises:
        PayloadError: a parameter is wrong.
        ForbiddenError: the caller may hand over, and not read.
    """
    terms = wait_terms(request.query_params) if gateway == "media" else None
    if terms:
        caller.require(Permission.CONTENT if terms.content else Permission.READ)
    return terms


@contextmanager
def _timed(gateway: str) -> Iterator[None]:
    started, status = time.perf_counter(), 202
    try:
        yield
    except BaseException as error:
        status = status_of(error)
        raise
    finally:
        HOOK_SECONDS.observe(time.perf_counter() - started, gateway, str(status))


def _parse(gateway: Gateway, payload: Any, settings: Settings) -> ParsedPayload:
    """The attachments in a payload.

    Raises:
        PayloadError: the payload cannot be parsed.
    """
    try:
        parsed = gateway.parse(payload, settings)
        check_identifiers(parsed)
        return parsed
    except PipelineError:
        raise
    except Exception as error:  # noqa: BLE001  an unexpected shape of foreign JSON must not be a 500
        _report_unparsed(error)
        raise PayloadError("", "the payload has an unknown shape") from None


def _report_unparsed(error: Exception) -> None:
    """Logs the type and the place of an error without its text, which may quote the payload."""
    report = RuntimeError(type(error).__name__).with_traceback(error.__traceback__)
    log.error("payload not understood", error=str(report), where=traceback.format_tb(error.__traceback__)[-3:])
    report_error(report, {})
