"""The web app: attachments in over HTTP, health and statistics out."""

from __future__ import annotations

import hmac
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import redis
import structlog
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from actors import telemetry
from actors.hook import process_media
from actors.stats import stats
from pipeline.base64_text import check_base64
from pipeline.errors import Code, PayloadError, PermanentError, PipelineError, SettingsError
from pipeline.models import Attachment, parse_attachment
from pipeline.services import services
from pipeline.settings import MB, Settings, current_settings

log = structlog.get_logger(__name__)

RETRY_AFTER_S = 5
STATUS_OF = {
    Code.BAD_PAYLOAD: 400,
    Code.UNAUTHORIZED: 401,
    Code.NOT_FOUND: 404,
    Code.TOO_LARGE: 413,
    Code.BAD_SETTING: 503,
    Code.CATALOGUE: 503,
    Code.QUEUE: 503,
    Code.STAGING: 503,
    Code.STORAGE: 503,
}
HEADERS_OF = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": str(RETRY_AFTER_S)}}


def build_app(settings: Settings) -> FastAPI:
    """The app for these settings. Its hooks answer 401 as long as API_TOKEN is not set."""
    app = FastAPI(title="Esteira", docs_url=None, redoc_url=None, openapi_url=None, lifespan=_lifespan)
    app.state.settings = settings
    app.add_exception_handler(PipelineError, _answer_error)
    app.add_exception_handler(ClientDisconnect, _answer_nobody)
    app.add_exception_handler(HTTPException, _answer_refusal)
    app.post("/hooks/media", status_code=202)(take_media)
    app.get("/healthz")(answer_alive)
    app.get("/readyz")(answer_ready)
    app.get("/stats")(answer_stats)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    telemetry.configure(app.state.settings)
    yield
    services().close()


async def take_media(request: Request) -> dict[str, Any]:
    """Takes one attachment or a list of them: all are checked before the first is accepted."""
    _check_token(request)
    settings: Settings = request.app.state.settings
    body = await _body(request, limit=int(settings.max_body_mb * MB))
    accepted = await run_in_threadpool(accept_body, body, limit=settings.max_batch)
    return {"accepted": accepted, "ignored": 0}


async def answer_alive() -> dict[str, str]:
    """The process lives."""
    return {"status": "ok"}


async def answer_ready(request: Request) -> JSONResponse:
    """Whether the catalogue and Redis answer; 503 names which does not."""
    probes = {"catalogue": _probe_catalogue, "redis": _probe_redis}
    faults = {name: await run_in_threadpool(probe, request.app.state.settings) for name, probe in probes.items()}
    ready = not any(faults.values())
    answer = {"status": "ok" if ready else "unavailable", **{name: fault or "ok" for name, fault in faults.items()}}
    return JSONResponse(answer, status_code=200 if ready else 503)


async def answer_stats(request: Request) -> dict[str, Any]:
    """The figures of `esteira stats --json`."""
    _check_token(request)
    try:
        return await run_in_threadpool(stats)
    except redis.RedisError as error:
        raise PipelineError(Code.QUEUE, "Redis does not answer") from error


def accept_body(body: bytes, *, limit: int) -> list[dict[str, str]]:
    """Hands every attachment of a body over; a repeat after an error is recognised, so the sender may just send again.

    Raises:
        PayloadError: as `parse_body`, before anything was handed over.
        RetryableError: one could not be written down.
    """
    return [_accept(attachment) for attachment in parse_body(body, limit=limit)]


def parse_body(body: bytes, *, limit: int) -> list[Attachment]:
    """The attachments of a body: one as an object, or a list of at most `limit`.

    Raises:
        PayloadError: it is not JSON, or a field is wrong, `data` that is not base64 too; in a list it is named with
            its index.
    """
    try:
        given = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise PayloadError("", "the body is not JSON") from None
    if not isinstance(given, list):
        return [_checked(given)]
    if not 0 < len(given) <= limit:
        raise PayloadError("", f"a list has 1 to {limit} attachments (MAX_BATCH)")
    return [_parse_at(index, fields) for index, fields in enumerate(given)]


def _parse_at(index: int, fields: Any) -> Attachment:
    try:
        return _checked(fields)
    except PayloadError as error:
        raise PayloadError("", f"[{index}] {error.message}") from None


def _checked(fields: Any) -> Attachment:
    attachment = parse_attachment(fields)
    # Found out only when it is written down, a wrong one would be refused after those before it were accepted.
    check_base64(attachment.data or "")
    return attachment


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _accept(attachment: Attachment) -> dict[str, str]:
    receipt = process_media(attachment)
    return {"id": receipt.id, "message_id": attachment.message_id, "status": receipt.status}


async def _body(request: Request, *, limit: int) -> bytes:
    """The body, read no further than `limit` bytes."""
    announced = request.headers.get("content-length", "")
    body = bytearray()
    if not (announced.isdigit() and int(announced) > limit):
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                break
        else:
            return bytes(body)
    raise PermanentError(Code.TOO_LARGE, f"the body is larger than {limit} bytes (MAX_BODY_MB)")


def _check_token(request: Request) -> None:
    token = request.app.state.settings.api_token
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if token is None:
        log.warning("hook refused: API_TOKEN is not set, so nobody can be let in", path=request.url.path)
    # Bytes, for compare_digest takes no text beyond ASCII; headers are Latin-1.
    elif scheme.lower() == "bearer" and hmac.compare_digest(
        given.strip().encode("latin-1"), token.get_secret_value().encode()
    ):
        return
    raise PermanentError(Code.UNAUTHORIZED, "send Authorization: Bearer with the API_TOKEN of this server")


def _probe_catalogue(_settings: Settings) -> str | None:
    try:
        services().catalogue.check_schema()
    except PipelineError as error:
        return error.message
    return None


def _probe_redis(settings: Settings) -> str | None:
    try:
        with redis.Redis.from_url(settings.redis, socket_timeout=1, socket_connect_timeout=1, retry=None) as client:
            client.ping()
    except redis.RedisError as error:
        return f"does not answer ({type(error).__name__})"
    return None


async def _answer_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, PipelineError)
    status = STATUS_OF.get(error.code, 400 if isinstance(error, PermanentError) else 503)
    body = {"error": {"code": error.code, "message": error.message}}
    return JSONResponse(body, status_code=status, headers=HEADERS_OF.get(status))


async def _answer_nobody(_request: Request, _error: Exception) -> JSONResponse:
    return JSONResponse({"error": {"code": Code.BAD_PAYLOAD, "message": "the body ended early"}}, status_code=400)


async def _answer_refusal(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    code = Code.NOT_FOUND if error.status_code == 404 else Code.BAD_PAYLOAD
    body = {"error": {"code": code, "message": error.detail}}
    return JSONResponse(body, status_code=error.status_code, headers=error.headers)


def _settings_or_exit() -> Settings:
    try:
        return current_settings()
    except SettingsError as error:
        sys.exit(f"esteira: {error.message}")


app = build_app(_settings_or_exit())
