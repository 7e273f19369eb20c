"""Authentication: gateways use their own secrets; all other callers use the API_TOKEN, a session token or a link."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog
from fastapi import Request

from pipeline.config.settings import Settings
from pipeline.errors import SettingsError
from pipeline.gateways import GATEWAYS, BodyCheck, Gateway, HookRequest, NoSecretError, UnauthorizedError
from pipeline.gateways.verification import bearer_token, constant_time_equal
from pipeline.security.callers import API_TOKEN_CALLER, OF_LINK, OF_SESSION_TOKEN, Caller
from pipeline.security.roles import Permission, Role
from pipeline.security.scopes import one_session
from pipeline.security.tokens import TokenSigner

LOG_INTERVAL_S = 60.0  # between two log lines about the same setting or gateway

log = structlog.get_logger(__name__)


class Authenticator:
    """Checks the secrets of requests. Logs a missing or wrong secret at most once a minute for each gateway."""

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._signer = _signer(settings)
        self._logged_at: dict[str, float] = {}
        self._lock = threading.Lock()

    def verify_hook(self, gateway: Gateway, request: HookRequest, *, local: bool) -> BodyCheck | None:
        """Verifies the head of a hook, before its body is read. `local`: the request was sent by this machine.

        Returns the check that the body has to pass if the gateway signs it, and None if the sender is verified already.

        Raises:
            UnauthorizedError: the secret is missing or wrong, or none is configured.
        """
        if local and self._settings.allow_unsigned_hooks:
            return None
        with self._reported(gateway):
            check = gateway.verify(request, self._settings)
        return check and functools.partial(self._check_body, gateway, check)

    def _check_body(self, gateway: Gateway, check: BodyCheck, body: bytes) -> None:
        with self._reported(gateway):
            check(body)

    @contextmanager
    def _reported(self, gateway: Gateway) -> Iterator[None]:
        try:
            yield
        except NoSecretError as error:
            self.warn_missing_secret(error.setting)
            raise
        except UnauthorizedError as error:
            # Some gateways do not log the answers that they get.
            name = next(name for name, known in GATEWAYS.items() if known is gateway)
            if self._is_due(name):
                log.warning("hook refused: its secret is missing or wrong", gateway=name, remedy=error.message)
            raise

    def authenticate(self, request: Request) -> Caller:
        """The caller of a request with a token in its header.

        Raises:
            UnauthorizedError: the token is missing or wrong.
        """
        return self.authenticate_token(bearer_token(request_headers(request).get("authorization", "")))

    def authenticate_content(self, request: Request) -> Caller:
        """Like `authenticate`, but also accepts a signed link, which allows the content in its path.

        Raises:
            UnauthorizedError: the token is missing or wrong, or the link is wrong or has expired.
        """
        query = request.query_params
        if "signature" not in query or "authorization" in request.headers:
            return self.authenticate(request)
        media_id = request.path_params["media_id"]
        if not (self._signer and self._signer.is_valid_link(media_id, query.get("expires", ""), query["signature"])):
            raise UnauthorizedError("this link is wrong or has expired")
        return Caller(OF_LINK, Role.LINK, media_id=media_id)

    def authenticate_token(self, token: str) -> Caller:
        """The caller of a token.

        Raises:
            UnauthorizedError: it is neither the API_TOKEN nor a valid session token.
        """
        session_token = self._signer.read(token) if self._signer and token.isascii() else None
        if session_token is not None:
            scope = one_session(None, session_token.session)
            return Caller(OF_SESSION_TOKEN, Role.VIEWER, scope, expires=session_token.expires)
        self.verify_hook(GATEWAYS["media"], HookRequest({"authorization": f"Bearer {token}"}), local=False)
        return API_TOKEN_CALLER

    def signer(self) -> TokenSigner:
        """Signs links and tokens. Raises SettingsError if the API_TOKEN is too short for that."""
        return self._signer or TokenSigner(self._settings.api_token)

    def require_metrics_token(self, request: Request) -> None:
        """Checks that a request has the METRICS_TOKEN, or a token that may see figures of all sessions.

        Raises:
            UnauthorizedError: it has neither.
            ForbiddenError: its token may not see them.
        """
        expected = self._settings.metrics_token
        token = bearer_token(request_headers(request).get("authorization", ""))
        if expected is None or not constant_time_equal(token, expected.get_secret_value()):
            self.authenticate(request).require(Permission.SYSTEM)

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


def request_headers(request: Request) -> dict[str, str]:
    """The headers by lower-case name, decoded as UTF-8. Bytes that are not UTF-8 are kept for comparison."""
    return {name.decode("latin-1"): value.decode("utf-8", "surrogateescape") for name, value in request.headers.raw}


def _signer(settings: Settings) -> TokenSigner | None:
    try:
        return TokenSigner(settings.api_token)
    except SettingsError:
        return None
