"""Error responses: one table from error code to status, and one form of body."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from actors.observability.sentry import report_error
from pipeline.errors import Code, PayloadError, PermanentError, PipelineError, RetryableError
from pipeline.gateways import UnauthorizedError
from pipeline.values.gateway_values import clean_text

RETRY_AFTER_S = 5
MAX_MESSAGE = 500  # characters: a message may name a field as the sender wrote it
STATUS_OF = {
    Code.BAD_PAYLOAD: 400,
    Code.UNAUTHORIZED: 401,
    Code.FORBIDDEN: 403,
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
# Codes for the statuses that the framework raises. All others are `bad_payload`.
CODE_OF = {403: Code.FORBIDDEN, 404: Code.NOT_FOUND, 405: Code.METHOD_NOT_ALLOWED, 410: Code.NOT_FOUND}
# After a body that was not read completely, the connection cannot be used for another request.
CLOSING = {"Connection": "close"}
HEADERS_OF = {401: {"WWW-Authenticate": "Bearer"}, 408: CLOSING, 413: CLOSING}

log = structlog.get_logger(__name__)


class ErrorDetail(BaseModel):
    """An error: a stable code for programs, and a message for people."""

    code: Code
    message: str
    reason: Literal["missing", "wrong", "not_set"] | None = Field(
        default=None, description="Only with `unauthorized`: whether the secret is missing, wrong, or not set here."
    )


class ErrorReply(BaseModel):
    """The body of every error response."""

    error: ErrorDetail


# For OpenAPI. A route that declares 4XX gets no 422 from FastAPI: invalid input is answered with 400.
ERROR_RESPONSES: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorReply, "description": "The request is refused"},
    "503": {"model": ErrorReply, "description": "Temporarily unavailable: try again after Retry-After"},
}


def add_handlers(app: FastAPI) -> None:
    """Makes the app answer every error with `{"error": {"code", "message"}}`."""
    app.add_exception_handler(PipelineError, _answer_pipeline_error)
    app.add_exception_handler(RequestValidationError, _answer_validation_error)
    app.add_exception_handler(ClientDisconnect, _answer_disconnect)
    app.add_exception_handler(HTTPException, _answer_http_exception)
    app.add_exception_handler(Exception, _answer_unexpected_error)


def status_of(error: BaseException) -> int:
    """The status of the response to an error."""
    match error:
        case PipelineError():
            return STATUS_OF.get(error.code, 400 if isinstance(error, PermanentError) else 503)
        case HTTPException():
            return error.status_code
        case ClientDisconnect():
            return 400
    return 503


def payload_error(errors: Sequence[Any], *, skip: int = 0) -> PayloadError:
    """The first of pydantic's errors as a PayloadError. `skip`: leading parts of its location to leave out."""
    field = ".".join(map(str, errors[0]["loc"][skip:]))
    if errors[0]["type"] == "extra_forbidden":
        return PayloadError(field, "is not known here")
    return PayloadError(field, errors[0]["msg"].removeprefix("Value error, "))


async def _answer_pipeline_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, PipelineError)
    status = status_of(error)
    headers = dict(HEADERS_OF.get(status, {}))
    if status in {429, 503}:
        wait_s = error.retry_after if isinstance(error, RetryableError) else None
        headers["Retry-After"] = str(math.ceil(wait_s or RETRY_AFTER_S))
    reason = error.reason if isinstance(error, UnauthorizedError) else None
    return error_response(status, error.code, error.message, headers, reason=reason)


async def _answer_validation_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return await _answer_pipeline_error(request, payload_error(error.errors(), skip=1))  # without "query"


async def _answer_disconnect(_request: Request, _error: Exception) -> JSONResponse:
    return error_response(400, Code.BAD_PAYLOAD, "the body ended early", {})


async def _answer_http_exception(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    headers = {**HEADERS_OF.get(error.status_code, {}), **(error.headers or {})}
    return error_response(error.status_code, CODE_OF.get(error.status_code, Code.BAD_PAYLOAD), error.detail, headers)


async def _answer_unexpected_error(_request: Request, error: Exception) -> JSONResponse:
    # A bug must not lose an attachment: with 503 the sender tries again.
    report_error(error, {})
    return error_response(503, Code.INTERNAL, "internal error", {"Retry-After": str(RETRY_AFTER_S)})


def error_response(
    status: int, code: Code, message: str, headers: dict[str, str], *, reason: str | None = None
) -> JSONResponse:
    """The response to an error, in the form of all errors."""
    error = {"code": code, "message": clean_text(message[:MAX_MESSAGE]), **({"reason": reason} if reason else {})}
    return JSONResponse({"error": error}, status_code=status, headers=headers)
