"""Authentication: who sends a request, by its token, its signed link, or the secret of its gateway."""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import structlog
from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from esteira.web.auth.access_list import MAX_AGE_S, MAX_UNKNOWN_AGE_S, RECENT_S, AccessList, build_access_list
from esteira.web.auth.guesses import FailureCounts
from esteira.web.auth.legacy_sessions import LegacySessions
from esteira.web.auth.running_calls import RunningCalls
from esteira.web.server.client_addresses import client_group
from pipeline.config.settings import Settings
from pipeline.errors import Code, PermanentError, RetryableError, SettingsError
from pipeline.gateways import GATEWAYS, BodyCheck, Gateway, HookRequest, NoSecretError, UnauthorizedError
from pipeline.gateways.verification import (
    BEARER,
    MissingSecretError,
    WrongSecretError,
    bearer_token,
    constant_time_equal,
)
from pipeline.security.callers import API_TOKEN_CALLER, OF_LINK, OF_SESSION_TOKEN, Caller
from pipeline.security.roles import Permission, Role
from pipeline.security.scopes import one_session
from pipeline.security.tokens import SessionToken, TokenSigner
from pipeline.security.user_tokens import PresentedToken, read_token

REFUSALS = {"missing": "hook refused: no secret was sent", "wrong": "hook refused: the secret is wrong"}
LOG_INTERVAL_S = 60.0  # between two log lines about the same setting or gateway

log = structlog.get_logger(__name__)


class HookAccess(NamedTuple):
    """A verified sender of a hook: its caller, and the check that the body has to pass if the gateway signs it."""

    caller: Caller
    check_body: BodyCheck | None = None


class Authenticator:
    """Checks the secrets of requests. Logs a missing or wrong secret at most once a minute for each gateway."""

    def __init__(
        self,
        settings: Settings,
        access: AccessList | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.access = access or build_access_list()
        self._settings = settings
        self._clock = clock
        self._signer = _signer(settings)
        self._legacy = LegacySessions()
        self._failures = FailureCounts()
        self.running_calls = RunningCalls()
        self._logged_at: dict[str, float] = {}
        self._lock = threading.Lock()

    # --- hooks ---

    async def verify_hook(
        self, gateway: Gateway, head: HookRequest, connection: HTTPConnection, *, local: bool
    ) -> HookAccess:
        """Verifies the head of a hook, before its body is read. `local`: the request was sent by this machine.

        Each hook accepts the API_TOKEN and users' tokens, which clients send; a gateway's hook also its own secret.

        Raises:
            UnauthorizedError: the secret is missing or wrong, or none is configured.
            ForbiddenError: the user may not hand over attachments.
            RetryableError: `too_many_requests`, after too many wrong secrets from this address.
        """
        if local and self._settings.allow_unsigned_hooks:
            return HookAccess(API_TOKEN_CALLER)
        token = bearer_token(head.header("authorization"))
        if gateway is GATEWAYS["media"] or self._is_api_token(token) or read_token(token):
            caller = await self.caller_of_token(token, connection)
            caller.require(Permission.INTAKE)
            return HookAccess(caller)
        with self._reported(gateway, connection):
            check = gateway.verify(head, self._settings)
        if check is None:
            return HookAccess(API_TOKEN_CALLER)
        return HookAccess(API_TOKEN_CALLER, functools.partial(self._check_body, gateway, connection, check))

    def _check_body(self, gateway: Gateway, connection: HTTPConnection, check: BodyCheck, body: bytes) -> None:
        with self._reported(gateway, connection):
            check(body)

    @contextmanager
    def _reported(self, gateway: Gateway, connection: HTTPConnection) -> Iterator[None]:
        try:
            yield
        except NoSecretError as error:
            self.warn_missing_secret(error.setting)
            raise
        except UnauthorizedError as error:
            self._log_refusal(gateway, error)
            if error.reason == "wrong":  # a request without a secret is no guess
                self.record_failure(connection)
            raise

    def _log_refusal(self, gateway: Gateway, error: UnauthorizedError) -> None:
        # Some gateways do not log the answers that they get.
        name = next(name for name, known in GATEWAYS.items() if known is gateway)
        if self._is_due(f"{name} {error.reason}"):
            log.warning(REFUSALS[error.reason], gateway=name, remedy=error.message)

    # --- tokens ---

    async def authenticate(self, request: Request) -> Caller:
        """The caller of a request with a token in its header.

        Raises:
            UnauthorizedError: the token is missing or wrong.
            RetryableError: `too_many_requests`, after too many wrong tokens from this address; `catalogue`, if the
                token cannot be checked now.
        """
        return await self.caller_of_token(bearer_token(request_headers(request).get("authorization", "")), request)

    async def authenticate_content(self, request: Request) -> Caller:
        """Like `authenticate`, but also accepts a signed link, which allows the content in its path.

        Raises:
            UnauthorizedError: the token is missing or wrong, or the link is wrong, has expired, or was made by a token
                that has expired or was revoked.
        """
        query = request.query_params
        if "signature" not in query or "authorization" in request.headers:
            return await self.authenticate(request)
        media_id, by = request.path_params["media_id"], query.get("by", "")
        caller = Caller(OF_LINK, Role.LINK, token_id=by or None, media_id=media_id)
        signer, expires = self._signer, query.get("expires", "")
        if signer is None:
            raise NoSecretError("API_TOKEN")
        if not signer.is_valid_link(media_id, expires, query["signature"], by=by):
            self.record_failure(request)
            raise UnauthorizedError("this link is wrong or has expired")
        if by and not await self._is_current(caller):
            raise UnauthorizedError("the token that made this link has expired or was revoked")
        return caller

    async def caller_of_token(self, token: str, connection: HTTPConnection) -> Caller:
        """The caller of a token.

        Raises:
            UnauthorizedError: it is not valid.
            RetryableError: `too_many_requests`, `catalogue`: see `authenticate`.
        """
        if self._is_api_token(token):  # first, because it is the one that hooks show
            return API_TOKEN_CALLER
        caller = None
        if presented := read_token(token):
            caller = self.access.find(presented) or await self._find_new(presented)
        elif self._signer and (session_token := self._signer.read(token)):
            caller = await self._session_caller(session_token)
        if caller is None:
            raise self._refusal(token, connection)
        return caller

    async def _find_new(self, presented: PresentedToken) -> Caller | None:
        """The caller of a token that may have been made a moment ago. A guess waits for at most RECENT_S."""
        if (wait_s := RECENT_S - self.access.age_s) > 0:
            await asyncio.sleep(wait_s)
        await run_in_threadpool(self.access.refresh, older_than_s=RECENT_S)
        caller = self.access.find(presented)
        if caller is None:
            self.access.require_age(MAX_UNKNOWN_AGE_S)
        return caller

    async def _session_caller(self, token: SessionToken) -> Caller:
        gateway = token.gateway
        if token.is_legacy:
            gateway = await run_in_threadpool(self._legacy.gateway_of, token.session)
        scope = one_session(gateway, token.session)
        caller = Caller(OF_SESSION_TOKEN, Role.VIEWER, scope, token_id=token.id, expires=token.expires)
        if not await self._is_current(caller):
            raise UnauthorizedError("this token was revoked")
        return caller

    async def _is_current(self, caller: Caller) -> bool:
        if self.access.age_s > MAX_AGE_S:
            await run_in_threadpool(self.access.refresh)
        self.access.require_age(MAX_AGE_S)
        return self.access.is_current(caller)

    def _is_api_token(self, token: str) -> bool:
        expected = self._settings.api_token
        return bool(expected) and constant_time_equal(token, expected.get_secret_value() if expected else "")

    def _refusal(self, token: str, connection: HTTPConnection) -> PermanentError:
        """The error for a token that is not valid. Raises RetryableError after too many of them."""
        if self._settings.api_token is None and not read_token(token):
            self.warn_missing_secret("API_TOKEN")
            return NoSecretError("API_TOKEN")
        error = _token_error(token)
        self._log_refusal(GATEWAYS["media"], error)
        if token:
            self.record_failure(connection)
        return error

    async def require_metrics_token(self, request: Request) -> None:
        """Checks that a request has the METRICS_TOKEN, or a token that may see figures of all sessions.

        Raises:
            UnauthorizedError: it has neither.
            ForbiddenError: its token may not see them.
        """
        expected = self._settings.metrics_token
        token = bearer_token(request_headers(request).get("authorization", ""))
        if expected is None or not constant_time_equal(token, expected.get_secret_value()):
            (await self.authenticate(request)).require(Permission.SYSTEM)

    def signer(self) -> TokenSigner:
        """Signs links and tokens. Raises SettingsError if the API_TOKEN is too short for that."""
        return self._signer or TokenSigner(self._settings.api_token)

    # --- wrong secrets ---

    def record_failure(self, connection: HTTPConnection) -> None:
        """Counts a wrong secret for the address of a request.

        Raises:
            RetryableError: `too_many_requests`: there were too many.
        """
        wait_s = self._failures.record(client_group(connection))
        if wait_s:
            message = "too many wrong tokens from this address; a valid one is accepted all the same"
            raise RetryableError(Code.TOO_MANY_REQUESTS, message, retry_after=wait_s)

    def warn_missing_secret(self, setting: str) -> None:
        """Logs that a request was refused because a setting is missing."""
        if self._is_due(setting):
            log.warning("hook refused: its secret is not configured", setting=setting)

    def _is_due(self, subject: str) -> bool:
        with self._lock:
            now = self._clock()
            if now - self._logged_at.get(subject, -LOG_INTERVAL_S) < LOG_INTERVAL_S:
                return False
            self._logged_at[subject] = now
        return True


def _token_error(token: str) -> UnauthorizedError:
    """Why a token opens nothing here, or that there is none."""
    if not token:
        return MissingSecretError("the API_TOKEN or another token of this server", [BEARER])
    if read_token(token):
        return UnauthorizedError(f"wrong token in {BEARER}: it was revoked, has expired, or is of another server")
    return WrongSecretError("the API_TOKEN or another token of this server", [BEARER])


def request_headers(request: HTTPConnection) -> dict[str, str]:
    """The headers by lower-case name, decoded as UTF-8. Bytes that are not UTF-8 are kept for comparison."""
    return {name.decode("latin-1"): value.decode("utf-8", "surrogateescape") for name, value in request.headers.raw}


def _signer(settings: Settings) -> TokenSigner | None:
    try:
        return TokenSigner(settings.api_token)
    except SettingsError:
        return None
