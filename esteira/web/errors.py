"""Every error as an answer: one table from code to status, one form of body."""

from __future__ import annotations

import math

import structlog
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from actors.observability.sentry import report_error
from pipeline.errors import Code, PermanentError, PipelineError, RetryableError
from pipeline.values.gateway_values import clean_text

RETRY_AFTER_S = 5
STATUS_OF = {
    Code.BAD_PAYLOAD: 400,
    Code.UNAUTHORIZED: 401,
    Code.NOT_FOUND: 404,
    Code.NO_PREVIEW: 404,
    Code.NOT_ENDED: 409,
    Code.NOT_PENDING: 409,
    Code.TOO_LARGE: 413,
    Code.TOO_MANY_REQUESTS: 429,
    Code.BAD_SETTING: 503,
    Code.CATALOGUE: 503,
    Code.INTERNAL: 503,
    Code.QUEUE: 503,
    Code.STAGING: 503,
    Code.STORAGE: 503,
}
# What the framework refuses by a status of its own, and what we do: the statuses above have their codes already.
CODE_OF = {403: Code.UNAUTHORIZED, 404: Code.NOT_FOUND, 405: Code.METHOD_NOT_ALLOWED, 410: Code.NOT_FOUND}
# Whoever has not sent all of a body is not listened to any further.
CLOSING = {"Connection": "close"}
HEADERS_OF = {401: {"WWW-Authenticate": "Bearer"}, 408: CLOSING, 413: CLOSING}

log = structlog.get_logger(__name__)


def add_handlers(app: FastAPI) -> None:
    """Makes the app answer every error in the same form: `{"error": {"code", "message"}}`."""
    app.add_exception_handler(PipelineError, _answer_error)
    app.add_exception_handler(ClientDisconnect, _answer_nobody)
    app.add_exception_handler(HTTPException, _answer_refusal)
    app.add_exception_handler(Exception, _answer_accident)


def status_of(error: BaseException) -> int:
    """The status that an error is answered with."""
    match error:
        case PipelineError():
            return STATUS_OF.get(error.code, 400 if isinstance(error, PermanentError) else 503)
        case HTTPException():
            return error.status_code
        case ClientDisconnect():
            return 400
    return 503


async def _answer_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, PipelineError)
    status = status_of(error)
    headers = dict(HEADERS_OF.get(status, {}))
    if status in {429, 503}:
        wait_s = error.retry_after if isinstance(error, RetryableError) else None
        headers["Retry-After"] = str(math.ceil(wait_s or RETRY_AFTER_S))
    return _answer(status, error.code, error.message, headers)


async def _answer_nobody(_request: Request, _error: Exception) -> JSONResponse:
    return _answer(400, Code.BAD_PAYLOAD, "the body ended early", {})


async def _answer_refusal(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    headers = {**HEADERS_OF.get(error.status_code, {}), **(error.headers or {})}
    return _answer(error.status_code, CODE_OF.get(error.status_code, Code.BAD_PAYLOAD), error.detail, headers)


async def _answer_accident(_request: Request, error: Exception) -> JSONResponse:
    # The server's last edge: the sender is asked to come again, for a mistake of ours must cost no attachment.
    report_error(error, {})
    return _answer(503, Code.INTERNAL, "something went wrong here", {"Retry-After": str(RETRY_AFTER_S)})


def _answer(status: int, code: Code, message: str, headers: dict[str, str]) -> JSONResponse:
    body = {"error": {"code": code, "message": clean_text(message)}}
    return JSONResponse(body, status_code=status, headers=headers)
