"""The gateways' hooks: one way for all of them from a request to accepted attachments.

The order is what makes it safe: the body is read within limits, its sender is verified over the bytes as they came, and
only then is anything of it decoded, understood, counted and accepted.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from actors.hook import hook, process_media
from actors.intake.rate_limit import IntakeRateLimit
from actors.observability.sentry import report_error
from actors.observability.tracing import CALLER_TRACEPARENT
from esteira.web.auth.access import Authenticator, is_local_request, request_headers
from esteira.web.errors import status_of
from esteira.web.intake.background import BackgroundRunner
from esteira.web.intake.bodies import BodyReader, decode
from esteira.web.intake.ignored_counts import IgnoredCounter
from esteira.web.intake.rate_limit import check_rate_limit
from pipeline.config.settings import Settings
from pipeline.errors import PayloadError, PipelineError
from pipeline.gateways import GATEWAYS, Gateway, HookRequest, ParsedPayload
from pipeline.gateways.verification import constant_time_equal
from pipeline.metrics import HOOK_SECONDS
from pipeline.models import Attachment

END_WITHIN_S = 10.0

log = structlog.get_logger(__name__)


class Hooks:
    """What the hooks of one process share."""

    def __init__(self, settings: Settings, authenticator: Authenticator) -> None:
        self.settings = settings
        self.authenticator = authenticator
        self.bodies = BodyReader(settings)
        self.tally = IgnoredCounter()
        self._aside = BackgroundRunner()
        self._rates: IntakeRateLimit | None = None
        self._making = threading.Lock()

    def add_routes(self, app: FastAPI) -> None:
        app.get("/hooks/cloud")(self.answer_challenge)
        app.post("/hooks/{gateway}", status_code=202)(self.take)
        app.post("/hooks/{gateway}/{secret:path}", status_code=202)(self.take)

    async def take(self, request: Request) -> JSONResponse:
        """Takes what a gateway sends; 202 once everything in it is written down."""
        gateway = GATEWAYS.get(request.path_params["gateway"])
        if gateway is None:
            raise HTTPException(404)
        CALLER_TRACEPARENT.set(request.headers.get("traceparent"))
        with _timed(request.path_params["gateway"]):
            async with self.bodies.read_body(request) as body:
                secret = request.path_params.get("secret") or None
                given = HookRequest(request_headers(request), body, secret)
                answer = await run_in_threadpool(self._answer, gateway, given, local=is_local_request(request))
        return JSONResponse(answer, status_code=202)

    async def answer_challenge(self, request: Request) -> PlainTextResponse:
        """Meta's question, when a webhook is set up, whether this is who shall get it."""
        asked = request.query_params
        expected = self.settings.cloud_verify_token
        if expected is None:
            self.authenticator.warn_missing_secret("CLOUD_VERIFY_TOKEN")
        elif asked.get("hub.mode") == "subscribe" and constant_time_equal(
            asked.get("hub.verify_token", ""), expected.get_secret_value()
        ):
            headers = {"X-Content-Type-Options": "nosniff"}
            return PlainTextResponse(asked.get("hub.challenge", ""), headers=headers)
        raise HTTPException(403, "hub.verify_token is not the CLOUD_VERIFY_TOKEN of this server")

    def prepare(self) -> None:
        """Opens what the first request would wait for. What fails now is told to whoever asks."""
        with suppress(PipelineError):
            self._rates_of_process()

    def close(self) -> None:
        """Waits a while for attachments that run aside, and writes down what was counted."""
        self._aside.close(within_s=END_WITHIN_S)
        self.tally.flush()

    def _answer(self, gateway: Gateway, given: HookRequest, *, local: bool) -> dict[str, Any]:
        self.authenticator.verify_hook(gateway, given, local=local)
        parsed = _parse(gateway, decode(given.body), self.settings)
        check_rate_limit(self._rates_of_process(), parsed.attachments)
        accepted = [self._accept(attachment) for attachment in parsed.attachments]
        if parsed.ignored:
            self.tally.add(parsed.ignored)
        return {"accepted": accepted, "ignored": parsed.ignored}

    def _rates_of_process(self) -> IntakeRateLimit:
        with self._making:
            if self._rates is None:
                own = hook()
                self._rates = IntakeRateLimit(own.queue, own.breaker, per_minute=self.settings.hook_rate_per_minute)
            return self._rates

    def _accept(self, attachment: Attachment) -> dict[str, str]:
        receipt = process_media(attachment, aside=self._aside)
        return {"id": receipt.id, "message_id": attachment.message_id, "status": receipt.status}


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
    """What a payload holds.

    Raises:
        PayloadError: it cannot be read.
    """
    try:
        return gateway.parse(payload, settings)
    except PipelineError:
        raise
    except Exception as error:  # noqa: BLE001  the last guard against somebody else's JSON: it is no 500
        _tell(error)
        raise PayloadError("", "the payload has a shape that is not understood") from None


def _tell(error: Exception) -> None:
    """Says where it happened and of what kind it is, without its words: they may be the payload's."""
    mistake = RuntimeError(type(error).__name__).with_traceback(error.__traceback__)
    log.error("payload not understood", error=str(mistake), where=traceback.format_tb(error.__traceback__)[-3:])
    report_error(mistake, {})
