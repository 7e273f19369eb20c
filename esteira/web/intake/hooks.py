"""The hooks: gateways send their webhooks here, and attachments are accepted from them.

The order matters for security: the sender's secret is verified before the body is read; the body is read within limits;
a signature is verified over the raw bytes; and only then the body is decoded, parsed, counted and accepted.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Protocol

import anyio.to_thread
import structlog
from anyio import CapacityLimiter
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from actors.hook import hook, process_media
from actors.intake.rate_limit import IntakeRateLimit
from actors.observability.sentry import report_error
from actors.observability.tracing import CALLER_TRACEPARENT
from esteira.web.auth.access import Authenticator, HookAccess, request_headers
from esteira.web.auth.local_requests import is_local_request
from esteira.web.errors import error_response, status_of
from esteira.web.intake.background import BackgroundRunner
from esteira.web.intake.bodies import BodyReader, Terms
from esteira.web.intake.hook_descriptions import CHALLENGE, RESULT, description
from esteira.web.intake.ignored_counts import IgnoredCounter
from esteira.web.intake.rate_limit import check_rate_limit
from esteira.web.intake.result_waits import ResultWaits, WaitTerms, wait_terms
from esteira.web.intake.strict_json import decode
from pipeline.config.intake_rules import refusing_rule
from pipeline.config.settings import Settings
from pipeline.errors import Code, PayloadError, PipelineError
from pipeline.gateways import GATEWAYS, Gateway, HookRequest, ParsedPayload
from pipeline.gateways.verification import constant_time_equal
from pipeline.metrics import HOOK_SECONDS
from pipeline.models import Attachment, Record
from pipeline.security.callers import Caller, ForbiddenError
from pipeline.security.roles import Permission

SHUTDOWN_WAIT_S = 10.0  # for attachments that are processed in the background; workers continue the others
THREADS = 40  # of their own, so that hooks do not wait for slow calls of the API

log = structlog.get_logger(__name__)


class AcceptedAttachment(BaseModel):
    """An attachment of a hook's payload: its id, and its status in the catalogue."""

    id: str
    message_id: str
    status: str


class HookReply(BaseModel):
    """What was accepted from a payload, and how many messages were ignored: without media, or refused by a rule.

    `ignored_by_rule` counts the latter by the number of their rule in INTAKE_RULES; without any it is left out.
    """

    accepted: list[AcceptedAttachment]
    ignored: int
    ignored_by_rule: dict[str, int] | None = None


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
        self.ignored = IgnoredCounter()
        self._background = BackgroundRunner()
        self._threads = CapacityLimiter(THREADS)
        self._rates: IntakeRateLimit | None = None
        self._rates_lock = threading.Lock()

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
            raise HTTPException(404)
        CALLER_TRACEPARENT.set(request.headers.get("traceparent"))
        with _timed(name):
            head = HookRequest(request_headers(request), request.path_params.get("secret") or None)
            local = self.settings.allow_unsigned_hooks and is_local_request(request)  # which takes 25 µs
            access = await self.authenticator.verify_hook(gateway, head, request, local=local)
            wait = _wait_terms(name, request, access.caller) if request.scope["query_string"] else None
            async with self.bodies.read_body(request, Terms(name, verified=access.check_body is None)) as body:
                accept = partial(self._accept, gateway, body, access, single=wait is not None)
                reply = await anyio.to_thread.run_sync(accept, limiter=self._threads)
        if wait is None:
            return JSONResponse(reply, status_code=202)
        return await self._result(request, access.caller, reply, wait)

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
            self._rates_of_process()

    def close(self) -> None:
        """Waits SHUTDOWN_WAIT_S for attachments in the background, and writes the count of ignored messages."""
        self._background.close(within_s=SHUTDOWN_WAIT_S)
        self.ignored.flush()

    def _accept(self, gateway: Gateway, body: bytes, access: HookAccess, *, single: bool) -> dict[str, Any]:
        if access.check_body is not None:
            access.check_body(body)
        parsed = _parse(gateway, decode(body), self.settings)
        if single and len(parsed.attachments) != 1:
            raise PayloadError("wait", "is for one attachment: the body has several")
        _check_scope(access.caller, parsed.attachments)
        attachments, by_rule = self._taken(parsed.attachments)
        check_rate_limit(self._rates_of_process(), attachments)
        accepted = [self._accept_attachment(attachment) for attachment in attachments]
        ignored = parsed.ignored + by_rule.total()
        if ignored:
            self.ignored.add(parsed.ignored, by_rule)
        reply = {"accepted": accepted, "ignored": ignored}
        return (
            reply | {"ignored_by_rule": {str(number): by_rule[number] for number in sorted(by_rule)}}
            if by_rule
            else reply
        )

    def _taken(self, attachments: Sequence[Attachment]) -> tuple[Sequence[Attachment], Counter[int]]:
        """The attachments that INTAKE_RULES accept, and how many each rule refuses."""
        rules = self.settings.intake_rules
        if not rules:
            return attachments, Counter()
        refusals = [refusing_rule(rules, attachment) for attachment in attachments]
        taken = [attachment for attachment, rule in zip(attachments, refusals, strict=True) if rule is None]
        return taken, Counter(rule for rule in refusals if rule is not None)

    def _accept_attachment(self, attachment: Attachment) -> dict[str, str]:
        receipt = process_media(attachment, aside=self._background, by_rules=False)  # they have decided already
        assert receipt.status
        return {"id": receipt.id, "message_id": attachment.message_id, "status": receipt.status}

    def _rates_of_process(self) -> IntakeRateLimit:
        with self._rates_lock:
            if self._rates is None:
                listener_hook = hook()
                self._rates = IntakeRateLimit(
                    listener_hook.queue, listener_hook.breaker, per_minute=self.settings.hook_rate_per_minute
                )
            return self._rates


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


def _check_scope(caller: Caller, attachments: Sequence[Attachment]) -> None:
    """Raises ForbiddenError if a user hands over an attachment of a session outside its scope."""
    if caller.scope.is_all:
        return
    for attachment in attachments:
        if not caller.sees_session(attachment.gateway, attachment.session):
            raise ForbiddenError(f"this token may hand over attachments of {caller.scope} only; nothing was accepted")


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
        return gateway.parse(payload, settings)
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
